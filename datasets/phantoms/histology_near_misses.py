"""What looks like a nucleus and has no label: red cells, dirt, fragments, nuclei out of focus."""

from __future__ import annotations

import numpy as np

from tinylesions.datasets.phantoms.histology_cells import open_pixels, outline_nucleus
from tinylesions.datasets.phantoms.histology_looks import draw_nucleus
from tinylesions.datasets.phantoms.histology_stain import EOSIN, HAEMATOXYLIN, RED
from tinylesions.datasets.phantoms.histology_tissue import Tissue
from tinylesions.datasets.phantoms.stamps import blob, cover_of

__all__ = ["draw_near_misses"]


def draw_near_misses(rng: np.random.Generator, tissue: Tissue, spindles: bool, grain: np.ndarray) -> None:
    """Draw them into a tissue's stains, in place, before the cells.

    Args:
        rng: source of randomness.
        tissue: where; their number grows with its area.
        spindles: also nuclei of connective cells, for data sets that do not label those.
        grain: fine noise of about unit variance, float32 (height, width).
    """
    height, width = tissue.size
    area = height * width / tissue.scale**2 / 128**2  # in patches of CoNIC
    for _ in range(rng.poisson(2.0 * area)):
        _red_cells(rng, tissue)
    for _ in range(rng.poisson(2.0 * area)):
        _dirt(rng, tissue)
    for _ in range(rng.poisson(6.0 * area)):
        kind = ("lymphocyte", "epithelial", "connective")[rng.integers(3)]
        _pale_nucleus(rng, tissue, kind, grain, blurred=True)
    for _ in range(rng.poisson(10.0 * area) if spindles else 0):
        _pale_nucleus(rng, tissue, "connective", grain, blurred=False)


def _somewhere(rng: np.random.Generator, tissue: Tissue) -> tuple[float, float]:
    return rng.uniform(0, tissue.size[1] - 1), rng.uniform(0, tissue.size[0] - 1)


def _red_cells(rng: np.random.Generator, tissue: Tissue) -> None:
    """A handful of red cells side by side: discs as large as a nucleus, bright red."""
    middle, colour = np.array(_somewhere(rng, tissue)), rng.uniform(0.5, 0.85)
    for _ in range(rng.integers(1, 9)):
        x, y = middle + rng.normal(0, 6 * tissue.scale, 2)
        if not (0 <= x < tissue.size[1] and 0 <= y < tissue.size[0]) or tissue.depth[int(y), int(x)] > -3:
            continue
        radius = rng.uniform(2.4, 3.3) * tissue.scale
        window = open_pixels(tissue.size, (x, y), 2 * radius + 2, rng.uniform(0, 3.1))
        cover = cover_of(blob(rng, window, radius, rng.uniform(1, 1.5), 0.06), 0.4 * tissue.scale)
        for stain, value in ((HAEMATOXYLIN, 0.0), (EOSIN, 0.14), (RED, colour)):
            view = tissue.stains[stain][window.where]
            view += cover * (np.float32(value) - view)


def _dirt(rng: np.random.Generator, tissue: Tissue) -> None:
    """A dark brown or blue-black speck, ragged."""
    radius = rng.uniform(0.5, 2.2) * tissue.scale
    window = open_pixels(tissue.size, _somewhere(rng, tissue), 2 * radius + 3, rng.uniform(0, 3.1))
    cover = cover_of(blob(rng, window, radius, rng.uniform(1, 1.7), 0.25), 0.4 * tissue.scale)
    tissue.stains[HAEMATOXYLIN][window.where] += cover * np.float32(rng.uniform(0.4, 1.2))
    tissue.stains[RED][window.where] += cover * np.float32(rng.uniform(0.0, 1.0))


def _pale_nucleus(rng: np.random.Generator, tissue: Tissue, kind: str, grain: np.ndarray, blurred: bool) -> None:
    """A nucleus above or below the focus, or one of a class that a data set does not label."""
    x, y = _somewhere(rng, tissue)
    in_gland = tissue.depth[int(y), int(x)] > -2
    if tissue.empty[int(y), int(x)] or (in_gland and not blurred):
        return
    angle = float(tissue.fibres[int(y), int(x)])
    cell = outline_nucleus(rng, kind, tissue.size, (x, y, angle), tissue.scale)
    if not blurred:
        draw_nucleus(tissue.stains, cell, grain)
        return
    cover = cover_of(cell.distance, 1.6 * tissue.scale)
    tissue.stains[HAEMATOXYLIN][cell.window.where] += cover * np.float32(rng.uniform(0.1, 0.28))
