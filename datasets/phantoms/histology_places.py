"""Where the cells of a histology phantom lie: in glands, in clusters, along fibres."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinylesions.datasets.phantoms.histology_tissue import Gland, Tissue

__all__ = ["fill_epithelium", "gland_places", "stroma_places"]

Place = tuple[float, float, float]
"""x and y of a nucleus in pixels and the direction of its length in radians."""


def gland_places(rng: np.random.Generator, gland: Gland, size: tuple[int, int], scale: float) -> list[Place]:
    """Return places for the nuclei of a gland inside a picture: rows along its outer edge, pointing to the lumen."""
    places = []
    for row in range(gland.rows):
        below = 5.2 + 6.5 * row  # micrometres from the edge to the middle of a nucleus
        count = max(int(2 * np.pi * (gland.radius - below) / 6.4), 1)
        angle = 2 * np.pi * (np.arange(count) + 0.5 * row + rng.uniform(-0.22, 0.22, count)) / count
        away = gland.edge(angle) - below - rng.normal(0, 0.9, count)
        x, y = (gland.centre[0] + away * np.cos(angle)) * scale, (gland.centre[1] + away * np.sin(angle)) * scale
        inside = (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)
        turned = angle + rng.normal(0, 0.2, count)
        places += list(zip(x[inside].tolist(), y[inside].tolist(), turned[inside].tolist(), strict=True))
    return places


def fill_epithelium(rng: np.random.Generator, tissue: Tissue, count: int) -> Iterator[Place]:
    """Draw up to ``count`` places anywhere in the epithelium."""
    yield from _places_in(rng, (tissue.depth > 3) & ~tissue.empty, count)


def stroma_places(rng: np.random.Generator, tissue: Tissue, kind: str, count: int) -> Iterator[Place]:
    """Draw up to ``count`` places for nuclei of one class outside of the glands.

    Connective cells lie along the fibres; lymphocytes lie in clusters, with stragglers, some of them in the epithelium;
    the others lie about.
    """
    ground = (tissue.depth < -2) & ~tissue.empty
    if not ground.any():
        ground = tissue.depth < np.inf  # a picture that is all gland: the cells are inside
    if kind == "connective":
        for x, y, _ in _places_in(rng, ground, count):
            yield x, y, float(tissue.fibres[int(y), int(x)] + rng.normal(0, 0.13))
    elif kind != "lymphocyte":
        yield from _places_in(rng, ground, count)
    else:
        yield from _clustered(rng, tissue, ground, count)


def _clustered(rng: np.random.Generator, tissue: Tissue, ground: np.ndarray, count: int) -> Iterator[Place]:
    height, width = tissue.size
    centres = list(_places_in(rng, ground, max(count // 120, 1)))
    around = rng.integers(len(centres), size=count)
    offsets = rng.normal(0, rng.uniform(9, 16) * tissue.scale, (count, 2))
    strays = list(_places_in(rng, (tissue.depth < 12) & ~tissue.empty | ground, count))
    for index in range(count):
        x, y, angle = strays[index]
        if rng.random() > 0.25:
            x, y = centres[around[index]][0] + offsets[index, 0], centres[around[index]][1] + offsets[index, 1]
        if 0 <= x <= width - 1 and 0 <= y <= height - 1 and (tissue.depth[int(y), int(x)] < -1 or rng.random() < 0.1):
            yield x, y, angle


def _places_in(rng: np.random.Generator, mask: np.ndarray, count: int) -> Iterator[Place]:
    pixels = np.flatnonzero(mask)
    if pixels.size:
        y, x = np.divmod(rng.choice(pixels, count), mask.shape[1])
        yield from zip(x.tolist(), y.tolist(), rng.uniform(0, np.pi, count).tolist(), strict=True)
