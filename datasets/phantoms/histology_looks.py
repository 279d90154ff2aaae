"""How the cells of a histology phantom look: cytoplasm, chromatin and nucleoli of each class."""

from __future__ import annotations

import numpy as np

from tinylesions.datasets.phantoms.histology_cells import Cell
from tinylesions.datasets.phantoms.histology_stain import EOSIN, HAEMATOXYLIN, RED
from tinylesions.datasets.phantoms.stamps import Window, blob, cover_of

__all__ = ["draw_cytoplasm", "draw_nucleus"]

# Haematoxylin in the middle of a nucleus, more of it at the rim, in clumps of chromatin and in a nucleolus.
CHROMATIN = {
    "neutrophil": (1.5, 0.05, 0.08, 0.0),
    "epithelial": (0.46, 0.38, 0.21, 0.5),
    "lymphocyte": (1.12, 0.16, 0.2, 0.0),
    "plasma": (0.8, 0.2, 0.15, 0.0),
    "eosinophil": (1.15, 0.1, 0.12, 0.0),
    "connective": (0.62, 0.22, 0.24, 0.0),
    "macrophage": (0.36, 0.26, 0.15, 0.2),
}
# Radius in micrometres and concentrations of haematoxylin, eosin and red of a cell's body; the others show none.
BODIES = {
    "neutrophil": (4.4, (0.05, 0.16, 0.03)),
    "plasma": (5.2, (0.3, 0.22, 0.0)),
    "eosinophil": (4.8, (0.05, 0.3, 0.75)),
    "macrophage": (9.0, (0.07, 0.15, 0.0)),
}


def draw_cytoplasm(stains: np.ndarray, cell: Cell, grain: np.ndarray) -> None:
    """Draw the body of a cell into concentrations float32 (3, height, width), in place.

    Args:
        stains: of the picture.
        cell: whose.
        grain: fine noise of about unit variance, float32 (height, width).
    """
    if cell.kind not in BODIES:
        return
    rng = np.random.default_rng([cell.seed, 1])
    radius, colour = BODIES[cell.kind]
    shift = 1.9 * cell.scale if cell.kind == "plasma" else 0.0  # its nucleus lies at one end
    moved = Window(cell.window.where, cell.window.along - np.float32(shift), cell.window.across)
    distance = blob(rng, moved, radius * cell.scale, 1.2, 0.06)
    cover = cover_of(distance, 0.5 * cell.scale)
    grains = grain[cell.window.where]
    for stain, strength in zip((HAEMATOXYLIN, EOSIN, RED), colour, strict=True):
        view = stains[stain][cell.window.where]
        rough = 0.28 if cell.kind in ("eosinophil", "macrophage") else 0.1
        view += cover * (np.float32(strength) * (1 + np.float32(rough) * grains) - view)


def draw_nucleus(stains: np.ndarray, cell: Cell, grain: np.ndarray, pale: float = 1.0) -> None:
    """Draw the nucleus of a cell; arguments as `draw_cytoplasm`, ``pale`` weakens its stain."""
    rng = np.random.default_rng([cell.seed, 2])
    middle, rim, clumps, nucleolus = CHROMATIN[cell.kind]
    scale, distance = np.float32(cell.scale), cell.distance
    strength = pale * float(np.clip(rng.normal(1, 0.2), 0.55, 1.5))
    chromatin = middle + rim * np.exp(-(((distance / scale + 0.35) / 0.6) ** 2)) + clumps * grain[cell.window.where]
    if cell.kind == "plasma":  # clumps at the rim, like the figures of a clock
        figures = np.cos(rng.integers(5, 8) * np.arctan2(cell.window.across, cell.window.along) + rng.uniform(0, 6.28))
        chromatin += 0.34 * figures * np.exp(-(((distance / scale + 0.9) / 0.8) ** 2))
    if nucleolus:
        for _ in range(rng.integers(1, 3)):
            along, across = rng.uniform(-1.6, 1.6) * scale, rng.uniform(-0.9, 0.9) * scale
            spot = np.hypot(cell.window.along - along, cell.window.across - across) / (0.75 * scale)
            chromatin += nucleolus * np.exp(-(spot**2))
    cover = cover_of(distance, 0.28 * cell.scale)
    for stain, value in ((HAEMATOXYLIN, strength * chromatin), (EOSIN, 0.26), (RED, 0.0)):
        view = stains[stain][cell.window.where]
        view += cover * (value - view)
