"""The outlines of nuclei: which pixels of a histology phantom the nucleus of a cell of each class takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tinylesions.datasets.phantoms.stamps import Window, blob

__all__ = ["Cell", "nucleus_pixels", "open_pixels", "outline_nucleus"]

# Long radius in micrometres with its spread, length over width, and how ragged: so that nuclei are about as large as
# the labels of CoNIC (pixels of a class over its number of nuclei).
FORMS = {
    "epithelial": (4.3, 0.12, 1.5, 0.05),
    "lymphocyte": (2.6, 0.09, 1.1, 0.05),
    "plasma": (3.1, 0.09, 1.25, 0.05),
    "connective": (6.0, 0.22, 3.6, 0.06),
    "macrophage": (5.0, 0.12, 1.35, 0.1),
}
LOBES = {"neutrophil": ((3, 5), 1.25, 1.45), "eosinophil": ((2, 3), 1.6, 1.3)}  # how many, their radius, how far out


@dataclass(frozen=True)
class Cell:
    """A cell in its window of the picture.

    Args:
        kind: its class.
        window: its pixels, with their coordinates along and across the nucleus.
        distance: to the edge of the nucleus in pixels, negative inside, float32 like the window.
        scale: pixels per micrometre.
        seed: of its looks.
    """

    kind: str
    window: Window
    distance: np.ndarray
    scale: float
    seed: int


def open_pixels(size: tuple[int, int], centre: Sequence[float], reach: float, angle: float) -> Window:
    """Open the window of ``reach`` pixels around ``centre`` = (x, y) in pixels, cut at the frame."""
    height, width = size
    left, top = (max(int(np.floor(place - reach)), 0) for place in centre)
    right, bottom = min(int(np.ceil(centre[0] + reach)) + 1, width), min(int(np.ceil(centre[1] + reach)) + 1, height)
    dx = np.arange(left, right, dtype=np.float32)[None] - np.float32(centre[0])
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(centre[1])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return Window((slice(top, bottom), slice(left, right)), dx * cos + dy * sin, dy * cos - dx * sin)


def outline_nucleus(
    rng: np.random.Generator,
    kind: str,
    size: tuple[int, int],
    place: tuple[float, float, float],
    scale: float,
    growth: float = 1.0,
) -> Cell:
    """Draw the outline of a nucleus.

    Args:
        rng: source of randomness.
        kind: one of the classes, background left out.
        size: (height, width) of the picture in pixels.
        place: x and y of its centre in pixels, inside the picture, and the direction of its length in radians.
        scale: pixels per micrometre.
        growth: its radius over the usual one.
    """
    x, y, angle = place
    if kind in LOBES:
        (fewest, most), lobe, out = LOBES[kind]
        window = open_pixels(size, (x, y), 7 * scale + 3, angle)
        distance = _lobes(rng, window, int(rng.integers(fewest, most)), lobe * scale * growth, out * scale * growth)
    else:
        radius, spread, stretch, wobble = FORMS[kind]
        radius *= scale * growth * float(np.clip(rng.normal(1, spread), 0.7, 1.4))
        window = open_pixels(size, (x, y), 2.6 * radius + 6 * scale + 2, angle)
        bent = window
        if kind == "connective":  # wavy, with pointed ends
            wave = 0.22 * radius * np.sin(window.along / radius * rng.uniform(1.2, 2.4) + rng.uniform(0, 6.28))
            bent = Window(window.where, window.along, (window.across + wave) * (1 + (window.along / radius) ** 2 / 3))
        distance = blob(rng, bent, radius, float(stretch * np.clip(rng.normal(1, 0.12), 0.75, 1.4)), wobble)
        if kind == "macrophage" and rng.random() < 0.7:  # kidney-shaped
            bite = np.hypot(window.along - rng.normal(0, 0.2) * radius, window.across - 1.05 * radius) - 0.62 * radius
            distance = np.maximum(distance, -bite)
    return Cell(kind, window, distance.astype(np.float32), scale, int(rng.integers(2**31)))


def nucleus_pixels(cell: Cell, labels: np.ndarray, overlap: float = 0.15) -> np.ndarray | None:
    """Return the pixels of a window that a nucleus takes, or None where it has no room.

    A nucleus gives way to those that are there: it takes the largest 4-connected piece that they leave,
    without holes, so that a polygon can bound it.

    Args:
        cell: its outline.
        labels: int (height, width), above 0 where there is a nucleus.
        overlap: greatest share of its pixels that it may lose.
    """
    inside = ndimage.binary_fill_holes(cell.distance <= 0)
    whole = np.count_nonzero(inside)
    free = inside & (labels[cell.window.where] == 0)
    left = np.count_nonzero(free)
    if whole < 4 or left < (1 - overlap) * whole:
        return None
    pieces, count = ndimage.label(free)  # the frame may cut off a lobe, too
    if count > 1:
        free = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
    if left < whole and not np.array_equal(ndimage.binary_fill_holes(free), free):
        return None
    return free


def _lobes(rng: np.random.Generator, window: Window, count: int, radius: float, out: float) -> np.ndarray:
    """Distance to the nearest of several touching lobes on an arc, in pixels."""
    turn = 3.2 if count == 2 else rng.uniform(1.25, 1.7)
    distance = np.full(window.along.shape, np.inf, np.float32)
    for lobe in range(count):
        angle = turn * lobe + rng.normal(0, 0.12)
        own = radius * rng.uniform(0.92, 1.12)
        along, across = window.along - out * np.cos(angle), window.across - out * np.sin(angle)
        np.minimum(distance, np.hypot(along, across) - own, out=distance)
    return distance
