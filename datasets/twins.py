"""Finds the same photo under two names, so that a photo that tests in one data set does not train in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .photos import photo_size, read_photo

__all__ = ["Twins", "find_twins", "leaving_out_twins", "sharing_labels"]

SIDE = 48
"""Rows and columns of the hash."""

BITS = 2 * SIDE * SIDE

SET_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint16)

MOST_DIFFERENT = 0.17
"""The share of bits in which twins may differ.

Tried on 20 photos of IDRiD and 3 of HRF: two different eyes differ in 0.30 of the bits at least, in 0.38 ± 0.03 on
average; a copy with a quarter of the width at JPEG quality 30 in 0.10 at most, one at quality 60 with half or all of
the width, or with the black border cut off, in 0.06. With 16 rows and columns two eyes came as near as 0.15. A mirrored
photo is another one.
"""

DARKEST = 16  # a grey level below which there is no retina
SHRUNK = 256  # pixels a side, for the look at where the retina lies


@dataclass(frozen=True)
class Twins:
    """The same photo in two datalists.

    Args:
        ids: of the photo in the first and in the second list.
        splits: likewise.
        images: its files, likewise.
    """

    ids: tuple[str, str]
    splits: tuple[str, str]
    images: tuple[str, str]


def find_twins(
    first: Sequence[Mapping[str, Any]],
    second: Sequence[Mapping[str, Any]],
    progress: Callable[[], None] | None = None,
) -> list[Twins]:
    """Find the photos of two datalists that are one and the same, whatever their size, names and JPEG quality.

    Args:
        first: a datalist.
        second: another one.
        progress: called after each photo of both.

    Returns:
        all pairs, in the order of ``first``.

    Raises:
        InputError: a photo that `read_photo` refuses.
    """
    hashes = [_hashes(items, progress) for items in (first, second)]
    twins = []
    for row, different in enumerate(_differences(*hashes)):
        for column in np.flatnonzero(different <= MOST_DIFFERENT).tolist():
            one, other = first[row], second[column]
            twins.append(
                Twins((one["id"], other["id"]), (one["split"], other["split"]), (one["image"], other["image"]))
            )
    return twins


def leaving_out_twins(
    grading: Sequence[dict[str, Any]], segmentation: Sequence[dict[str, Any]], twins: Sequence[Twins]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Leave out what trains in one set and validates or tests in the other, and what validates and tests.

    What a network saw in training cannot choose its weights, and what it saw or what chose them cannot test it, nor the
    network that learns from its pseudo-labels.

    Args:
        grading: a datalist.
        segmentation: another one.
        twins: what `find_twins` gave for the two in this order.

    Returns:
        both datalists without those photos, and the items that were left out.
    """
    kept, left_out = [], []
    for place, items in enumerate((grading, segmentation)):
        leaks_of = {
            twin.images[place]
            for twin in twins
            if _STAGES.index(twin.splits[place]) < _STAGES.index(twin.splits[1 - place])
        }
        leaking = [item["image"] in leaks_of for item in items]
        kept.append([item for item, leaks in zip(items, leaking, strict=True) if not leaks])
        left_out += [item for item, leaks in zip(items, leaking, strict=True) if leaks]
    return kept[0], kept[1], left_out


def sharing_labels(
    grading: Sequence[dict[str, Any]], segmentation: Sequence[dict[str, Any]], twins: Sequence[Twins]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Give the true labels of each photo that trains in both sets to both its items: nothing is left to guess there.

    Masks are given to a photo of the same height and width only; else its own stay unknown.

    Args:
        grading: a datalist of graded photos.
        segmentation: one of photos with masks.
        twins: what `find_twins` gave for the two in this order.

    Returns:
        both datalists.
    """
    pairs = [twin.images for twin in twins if twin.splits == ("training", "training")]
    grades = {item["image"]: item["grade"] for item in grading if "grade" in item}
    masks = {item["image"]: item["label"] for item in segmentation if "label" in item}
    grades_of = {other: grades[one] for one, other in pairs if one in grades}
    masks_of = {one: masks[other] for one, other in pairs if other in masks and photo_size(one) == photo_size(other)}
    return (
        [item | ({"label": masks_of[item["image"]]} if item["image"] in masks_of else {}) for item in grading],
        [item | ({"grade": grades_of[item["image"]]} if item["image"] in grades_of else {}) for item in segmentation],
    )


_STAGES = ("training", "validation", "test")
"""A photo may be seen in one stage only, and the last one has it."""


def _hashes(items: Sequence[Mapping[str, Any]], progress: Callable[[], None] | None) -> np.ndarray:
    """Return uint8 (photos, BITS / 8), eight bits a byte."""
    hashes = np.zeros((len(items), BITS // 8), np.uint8)
    for row, item in enumerate(items):
        hashes[row] = np.packbits(_hash(item["image"]))
        if progress is not None:
            progress()
    return hashes


def _hash(path: Path | str) -> np.ndarray:
    """Return the difference hash of a photo's retina: whether each cell is brighter than those left and above."""
    grey = Image.fromarray(read_photo(path, at_least=SHRUNK)).convert("L")
    # each cell is the mean of its area: noise and the blocks of JPEG average out
    cells = np.asarray(grey.resize((SIDE + 1, SIDE + 1), Image.Resampling.BOX, box=_retina(grey)))
    here, left, above = cells[1:, 1:], cells[1:, :-1], cells[:-1, 1:]
    return np.concatenate([(here > left).ravel(), (here > above).ravel()])


def _retina(grey: Image.Image) -> tuple[float, float, float, float]:
    """Return the box around what is not black; without it, noise in the border would count as much as the retina."""
    shrunk = np.asarray(grey.resize((SHRUNK, SHRUNK), Image.Resampling.BOX)) > DARKEST
    columns, rows = (np.flatnonzero(shrunk.mean(axis=axis) > 0.02) for axis in (0, 1))
    if not len(columns) or not len(rows):
        return 0, 0, *grey.size
    x, y = grey.width / SHRUNK, grey.height / SHRUNK
    return columns[0] * x, rows[0] * y, (columns[-1] + 1) * x, (rows[-1] + 1) * y


def _differences(first: np.ndarray, second: np.ndarray) -> Iterator[np.ndarray]:
    """Yield, for each hash of the first set, the share of bits in which it differs from each of the second."""
    for hash_ in first:
        yield SET_BITS[second ^ hash_].sum(axis=1) / BITS
