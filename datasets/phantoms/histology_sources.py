"""Cut histology phantoms into the patches of a data set, several from each source."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from skimage.measure import label

from tinylesions.datasets.phantoms.histology import TISSUES, draw_tile
from tinylesions.datasets.phantoms.noise import random_stream

__all__ = ["SMALLEST_NUCLEUS", "cut_patches", "draw_sources"]

SMALLEST_NUCLEUS = 5
"""In pixels: less of a nucleus at a patch's edge is not labelled."""


def draw_sources(
    seed: int, name: str, count: int, size: tuple[int, int], kind: str
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Draw patches source by source: those of one source are neighbours in one tile and share its stains.

    A source gives four patches, fewer in sets of less than 16, so that four patches or more have four sources to split.
    The tissues go round, so that four sources have them all.

    Args:
        seed: the same seed, name, count and size give the same patches.
        name: of the set, so that sets do not share patches.
        count: of the patches.
        size: (height, width) of a patch.
        kind: as in `draw_tile`.

    Yields:
        the source's number and the patch's number in it, both from 0, the picture and the labels.
    """
    together = min(max(count // 4, 1), 4)
    for source, first in enumerate(range(0, count, together)):
        wanted = min(together, count - first)
        rows, columns = (wanted + 1) // 2, min(wanted, 2)
        tile = draw_tile(
            random_stream(seed, name, str(source)),
            (rows * size[0], columns * size[1]),
            kind,
            list(TISSUES)[source % len(TISSUES)],
        )
        for index, patch in zip(range(wanted), cut_patches(*tile, size), strict=False):
            yield source, index, *patch


def cut_patches(
    image: np.ndarray, labels: np.ndarray, size: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut a tile into patches side by side, row by row, and number the nuclei of each from 1.

    The parts of a nucleus that a cut leaves are nuclei of their own; those below `SMALLEST_NUCLEUS` pixels
    become background.

    Args:
        image: uint8 (height, width, 3).
        labels: as `draw_tile` returns them.
        size: (height, width) of the patches; what is left over at the right and below is dropped.
    """
    for top in range(0, image.shape[0] - size[0] + 1, size[0]):
        for left in range(0, image.shape[1] - size[1] + 1, size[1]):
            where = np.s_[top : top + size[0], left : left + size[1]]
            numbers = label(labels[where][..., 0], connectivity=1)
            areas = np.bincount(numbers.ravel())
            areas[0] = 0
            order = np.cumsum(areas >= SMALLEST_NUCLEUS) * (areas >= SMALLEST_NUCLEUS)
            numbers = order[numbers]
            kept = np.stack([numbers, np.where(numbers > 0, labels[where][..., 1], 0)], axis=-1)
            yield np.ascontiguousarray(image[where]), kept.astype(np.int32)
