"""Put a histology phantom together: stained tissue with nuclei of several classes and their labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from tinylesions.datasets.nuclei import CONIC_CLASSES, MONUSAC_CLASSES
from tinylesions.datasets.phantoms.histology_cells import Cell, nucleus_pixels, outline_nucleus
from tinylesions.datasets.phantoms.histology_looks import draw_cytoplasm, draw_nucleus
from tinylesions.datasets.phantoms.histology_near_misses import draw_near_misses
from tinylesions.datasets.phantoms.histology_places import fill_epithelium, gland_places, stroma_places
from tinylesions.datasets.phantoms.histology_stain import random_staining, scan_slide
from tinylesions.datasets.phantoms.histology_tissue import Gland, Tissue, draw_glands, draw_stroma, lay_gland
from tinylesions.datasets.phantoms.noise import smooth_noise

__all__ = [
    "NUCLEI_CLASSES",
    "NUCLEI_SHARES",
    "SMALLEST_TILE",
    "TILE_SIZE",
    "TISSUES",
    "draw_tile",
]

TILE_SIZE = (256, 256)
"""(height, width) of CoNIC's patches."""

SMALLEST_TILE = (64, 64)
"""Least (height, width): a smaller tile holds no cluster of nuclei."""

NUCLEI_CLASSES = {"conic": CONIC_CLASSES, "monusac": MONUSAC_CLASSES}
"""The classes of each kind of tile, background first: a pixel's class is its place."""

SCALES = {"conic": 2.0, "monusac": 4.0}
"""Pixels per micrometre: CoNIC is scanned at 20×, MoNuSAC at 40×."""

NUCLEI_SHARES = {
    "conic": {
        "neutrophil": 0.00126,
        "epithelial": 0.10308,
        "lymphocyte": 0.01855,
        "plasma": 0.00551,
        "eosinophil": 0.00103,
        "connective": 0.03081,
    },
    "monusac": {"epithelial": 0.10905, "lymphocyte": 0.04422, "macrophage": 0.01737, "neutrophil": 0.00363},
}
"""Share of all pixels that each class has: the paper's tables 4.1 and 4.2."""

# How much of each class a tissue has, as a multiple of its share; the tissues' mean is 1 for every class.
TISSUES = {
    "mucosa": {"epithelial": 1.3, "lymphocyte": 0.8, "plasma": 1.4, "connective": 0.9, "neutrophil": 0.6},
    "inflamed": {"epithelial": 0.8, "lymphocyte": 2.2, "plasma": 1.6, "connective": 0.8, "neutrophil": 1.6},
    "muscle": {"epithelial": 0.4, "lymphocyte": 0.4, "plasma": 0.4, "connective": 1.5, "neutrophil": 0.6},
    "tumour": {"epithelial": 1.5, "lymphocyte": 0.6, "plasma": 0.6, "connective": 0.8, "neutrophil": 1.2},
}
"""Kinds of tissue; a class that is not named has its share."""


def draw_tile(
    rng: np.random.Generator, size: tuple[int, int] = TILE_SIZE, kind: str = "conic", tissue: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a tile of tissue stained with haematoxylin and eosin, and the labels of its nuclei.

    Without labels it holds what resembles nuclei: red cells, dirt, nuclei out of focus; in MoNuSAC's tiles connective
    cells as well. Each class fills its share of the pixels (`NUCLEI_SHARES` times the tissue's multiple, give or take
    a nucleus) where there is room for it.

    Args:
        rng: source of randomness: the same state gives the same tile.
        size: (height, width) in pixels, (64, 64) at least.
        kind: ``"conic"`` for six classes at 0.5 µm a pixel, ``"monusac"`` for four at 0.25 µm.
        tissue: one of `TISSUES`; None draws one.

    Returns:
        the picture, uint8 (height, width, 3), and the labels, int32 (height, width, 2): the number of the nucleus from
        1, 0 for background, and its class as in `NUCLEI_CLASSES`. Every nucleus is one 4-connected piece
        without holes.

    Raises:
        ValueError: a size that is too small, or an unknown kind or tissue.

    Example:
        >>> image, labels = draw_tile(np.random.default_rng(0), (128, 128))
        >>> image.shape, labels.shape, labels[labels[..., 0] == 0, 1].max()
        ((128, 128, 3), (128, 128, 2), np.int32(0))
    """
    size = (int(size[0]), int(size[1]))
    if size[0] < SMALLEST_TILE[0] or size[1] < SMALLEST_TILE[1]:
        raise ValueError(f"size is {size}; draw tiles of at least {SMALLEST_TILE} pixels (height, width)")
    if kind not in SCALES:
        raise ValueError(f"there is no kind {kind!r} of tile; choose one of {', '.join(SCALES)}")
    tissue = tissue or list(TISSUES)[rng.integers(len(TISSUES))]
    if tissue not in TISSUES:
        raise ValueError(f"there is no tissue {tissue!r}; choose one of {', '.join(TISSUES)}")
    staining, scale = random_staining(rng), SCALES[kind]
    wanted = {
        name: share * size[0] * size[1] * TISSUES[tissue].get(name, 1) for name, share in NUCLEI_SHARES[kind].items()
    }
    ground = draw_stroma(rng, size, scale, dense=rng.uniform(0.6, 1.0) if tissue == "muscle" else rng.uniform(0, 0.5))
    glands, rings = _lay_glands(rng, ground, wanted["epithelial"], tissue == "tumour")
    draw_glands(rng, ground, glands)
    grain = smooth_noise(rng, size, 0.9 * scale, octaves=2)
    draw_near_misses(rng, ground, "connective" not in wanted, grain)
    labels = np.zeros((*size, 2), np.int32)
    cells = list(_settle(rng, kind, ground, rings, wanted, labels, 1.15 if tissue == "tumour" else 1.0))
    for cell in cells:
        draw_cytoplasm(ground.stains, cell, grain)
    for cell in cells:
        draw_nucleus(ground.stains, cell, grain)
    return scan_slide(rng, staining, ground.stains), labels


def _lay_glands(
    rng: np.random.Generator, ground: Tissue, wanted: float, tumour: bool
) -> tuple[list[Gland], list[tuple[float, float, float]]]:
    """Lay glands beside each other until their nuclei would fill ``wanted`` pixels; return their nuclei's places."""
    extent = (ground.size[1] / ground.scale, ground.size[0] / ground.scale)
    glands: list[Gland] = []
    places: list[tuple[float, float, float]] = []
    for _ in range(200):
        if len(places) * 30 * ground.scale**2 >= wanted:  # a nucleus fills 40 square micrometres, some find no room
            break
        gland = lay_gland(rng, extent, tumour)
        apart = [
            np.hypot(gland.centre[0] - other.centre[0], gland.centre[1] - other.centre[1])
            - 1.05 * (gland.radius + other.radius)
            for other in glands
        ]
        if min(apart, default=1) > 0:
            glands.append(gland)
            places += gland_places(rng, gland, ground.size, ground.scale)
    return glands, [places[index] for index in rng.permutation(len(places))]


def _settle(
    rng: np.random.Generator,
    kind: str,
    ground: Tissue,
    rings: list[tuple[float, float, float]],
    wanted: dict[str, float],
    labels: np.ndarray,
    growth: float,
) -> Iterator[Cell]:
    """Place nuclei class by class until each fills its pixels; write them into ``labels`` and yield their cells."""
    number = 0
    # What has fixed places goes first, then the rare classes, then those that find room anywhere.
    for name in sorted(wanted, key=lambda name: (name != "epithelial", wanted[name])):
        left = wanted[name]
        tries = 60 + int(left / ground.scale**2)
        places: Iterable[tuple[float, float, float]] = stroma_places(rng, ground, name, tries)
        if name == "epithelial":
            places = chain(rings, fill_epithelium(rng, ground, tries))
        for place in places:
            cell = outline_nucleus(rng, name, ground.size, place, ground.scale, growth if name == "epithelial" else 1)
            pixels = nucleus_pixels(cell, labels[..., 0])
            if pixels is None:
                continue
            area = np.count_nonzero(pixels)
            if rng.random() * area > left:  # the last one comes as often as keeps the mean of many tiles right
                break
            left -= area
            number += 1
            labels[cell.window.where][pixels] = number, NUCLEI_CLASSES[kind].index(name)
            yield cell
            if left <= 0:
                break
