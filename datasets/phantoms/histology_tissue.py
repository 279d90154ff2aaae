"""The tissue of a histology phantom without its cells: fibres, clefts, glands with epithelium, vacuoles and lumen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tinylesions.datasets.phantoms.histology_stain import EOSIN, HAEMATOXYLIN, RED
from tinylesions.datasets.phantoms.noise import smooth_noise

__all__ = ["Gland", "Tissue", "draw_glands", "draw_stroma", "lay_gland"]


@dataclass(frozen=True)
class Tissue:
    """What lies under the cells.

    Args:
        stains: concentrations, float32 (3, height, width).
        depth: how deep a pixel lies in a gland, in micrometres from its outer edge; below 0 outside; (height, width).
        empty: bool (height, width), no tissue: clefts and lumina.
        fibres: direction of the fibres in radians, float32 (height, width).
        scale: pixels per micrometre.
    """

    stains: np.ndarray
    depth: np.ndarray
    empty: np.ndarray
    fibres: np.ndarray
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.depth.shape[0], self.depth.shape[1]


@dataclass(frozen=True)
class Gland:
    """A gland cut across; lengths in micrometres.

    Args:
        centre: (x, y).
        radius: mean distance of its outer edge.
        waves: (amplitude, phase) of the edge's waves 2, 3, ... around the gland, as shares of the radius.
        wall: thickness of the epithelium around the lumen.
        rows: rows of nuclei in the epithelium.
        vacuoles: how many of 10 cells are goblet cells.
    """

    centre: tuple[float, float]
    radius: float
    waves: tuple[tuple[float, float], ...]
    wall: float
    rows: int
    vacuoles: float

    def edge(self, angle: np.ndarray) -> np.ndarray:
        """Distance of the outer edge from the centre in directions (radians)."""
        waves = sum(size * np.cos(wave * angle + phase) for wave, (size, phase) in enumerate(self.waves, 2))
        return self.radius * (1 + np.asarray(waves))


def lay_gland(rng: np.random.Generator, extent: tuple[float, float], tumour: bool) -> Gland:
    """Draw a gland that lies at least in part in the field ``extent`` = (width, height) in micrometres."""
    radius = rng.uniform(34, 60) if tumour else rng.uniform(26, 42)
    wobble = 0.09 if tumour else 0.05
    waves = tuple((rng.normal(0, 1.6 * wobble / wave), rng.uniform(0, 6.28)) for wave in range(2, 7))
    x, y = (rng.uniform(-0.5 * radius, side + 0.5 * radius) for side in extent)
    wall = min(rng.uniform(20, 28), 0.8 * radius)
    return Gland(
        (x, y),
        radius,
        waves,
        wall,
        rows=int(rng.integers(2, 4)) if tumour else 1 + int(rng.random() < 0.5),
        vacuoles=rng.uniform(0, 2) if tumour else rng.uniform(3, 8),
    )


def draw_stroma(rng: np.random.Generator, size: tuple[int, int], scale: float, dense: float) -> Tissue:
    """Draw connective tissue: wavy fibres of varying stain, with clefts between them.

    Args:
        rng: source of randomness.
        size: (height, width) in pixels.
        scale: pixels per micrometre.
        dense: 0 is loose and pale, 1 is muscle.
    """
    angle = rng.uniform(0, np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) / np.float32(scale)
    bend = 11 * smooth_noise(rng, size, 55 * scale) + 1.5 * smooth_noise(rng, size, 10 * scale)
    grain = smooth_noise(rng, size, 2.6 * scale, octaves=2)
    along, across = x * cos + y * sin + 2.5 * grain, y * cos - x * sin + bend + 0.35 * grain
    fibres = 0.6 * _strands(rng, along, across, 9, 1.1) + 0.45 * _strands(rng, along, across, 22, 3.6) + 0.3 * grain
    slope_y, slope_x = np.gradient(bend, 1 / scale)
    direction = np.arctan2(sin - slope_x, cos + slope_y)

    cloud = smooth_noise(rng, size, 38 * scale, octaves=2)
    stains = np.zeros((3, *size), np.float32)
    stains[EOSIN] = (0.2 + 0.16 * dense) * (1 + 0.4 * fibres + 0.35 * cloud)
    stains[HAEMATOXYLIN] = 0.055 + 0.02 * cloud + 0.018 * fibres
    stains[RED] = 0.05 * dense
    # Clefts follow the fibres and open where the tissue is loose.
    opening = fibres + (0.9 - 0.5 * dense) * smooth_noise(rng, size, 24 * scale, octaves=2)
    cleft = 1 / (1 + np.exp(np.clip(6 * (opening + 1.05 + 0.55 * dense), -30, 30)))
    stains *= 1 - 0.93 * cleft
    return Tissue(stains, np.full(size, -1e3, np.float32), cleft > 0.5, direction.astype(np.float32), scale)


def _strands(
    rng: np.random.Generator, along: np.ndarray, across: np.ndarray, length: float, width: float
) -> np.ndarray:
    """Noise of about unit variance, stretched along the fibres: ``length`` and ``width`` in micrometres."""
    row, column = (across - across.min()) / width, (along - along.min()) / length
    grid = rng.standard_normal((int(row.max()) + 2, int(column.max()) + 3), dtype=np.float32)
    column += rng.random(len(grid), dtype=np.float32)[row.astype(int)]  # strands do not end side by side
    return ndimage.map_coordinates(grid, [row, column], order=1, mode="nearest") * np.float32(1.5)


def draw_glands(rng: np.random.Generator, tissue: Tissue, glands: list[Gland]) -> None:
    """Draw glands over the stroma, in place: a cleft around, epithelium, goblet cells' vacuoles, the lumen."""
    size, scale = tissue.size, tissue.scale
    grain = smooth_noise(rng, size, 2.2 * scale, octaves=2)
    cloud = smooth_noise(rng, size, 14 * scale)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) / np.float32(scale)
    for gland in glands:
        dx, dy = x - np.float32(gland.centre[0]), y - np.float32(gland.centre[1])
        distance = np.hypot(dx, dy)
        near = distance < 1.5 * gland.radius
        if not near.any():
            continue
        rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        where = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        angle = np.arctan2(dy[where], dx[where])
        depth = (gland.edge(angle) - distance[where]).astype(np.float32)
        inner = depth - np.float32(gland.wall) + 2.2 * cloud[where]
        wall = _step(depth, 0.8)
        around = np.exp(-((depth + 1.2) ** 2) / 2) * np.clip(0.55 + 0.5 * cloud[where], 0, 1)
        apical = np.clip(depth / gland.wall, 0, 1)
        stains = tissue.stains[:, where[0], where[1]]
        stains *= 1 - 0.8 * around
        stains[HAEMATOXYLIN] += wall * (0.17 - 0.09 * apical + 0.025 * grain[where] - stains[HAEMATOXYLIN])
        stains[EOSIN] += wall * (0.24 + 0.04 * apical + 0.03 * grain[where] - stains[EOSIN])
        stains[RED] *= 1 - wall
        _draw_vacuoles(rng, gland, stains, depth, angle, distance[where])
        lumen = _step(inner, 0.7)
        stains *= 1 - 0.95 * lumen
        tissue.depth[where] = np.maximum(tissue.depth[where], depth)
        tissue.empty[where] = np.where(depth > 0, inner > 0, tissue.empty[where])


def _draw_vacuoles(
    rng: np.random.Generator, gland: Gland, stains: np.ndarray, depth: np.ndarray, angle: np.ndarray, far: np.ndarray
) -> None:
    """Draw the pale drops of mucus of the goblet cells between the nuclei and the lumen."""
    cells = int(2 * np.pi * (gland.radius - 0.6 * gland.wall) / 7.5)
    for cell in range(cells):
        if rng.random() > gland.vacuoles / 10:
            continue
        turn = 2 * np.pi * (cell + rng.uniform(-0.2, 0.2)) / cells
        sideways = np.sin(angle - turn) * far
        inwards = depth - gland.wall * rng.uniform(0.6, 0.75)
        drop = np.hypot(sideways / rng.uniform(2.6, 3.6), inwards / rng.uniform(3.6, 5.4)) - 1
        drop = np.where(np.cos(angle - turn) > 0, drop, 9)
        inside = _step(-drop, 0.12)
        stains[HAEMATOXYLIN] += inside * (0.05 - stains[HAEMATOXYLIN])
        stains[EOSIN] += inside * (0.035 - stains[EOSIN])


def _step(value: np.ndarray, soft: float) -> np.ndarray:
    return 1 / (1 + np.exp(np.clip(-2 * value / np.float32(soft), -30, 30)))
