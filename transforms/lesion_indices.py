"""Where a photo's lesions are, each connected component for itself, prepared once for random crops."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy
from scipy import ndimage

__all__ = ["INDICES_POSTFIX", "LesionIndices", "LesionIndicesd", "lesion_indices"]

INDICES_POSTFIX = "_lesion_indices"

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class LesionIndices:
    """The pixels of one lesion, component after component.

    Attributes:
        pixels: (n,) int32, row · width + column.
        bounds: (components + 1,) int64; component k is ``pixels[bounds[k]:bounds[k + 1]]``.
    """

    pixels: np.ndarray
    bounds: np.ndarray

    @property
    def components(self) -> int:
        """How many 8-connected components there are."""
        return len(self.bounds) - 1


def lesion_indices(mask: np.ndarray) -> LesionIndices:
    """Find the pixels of each 8-connected component of a mask.

    Args:
        mask: (H, W), of any type and range: 0 and 1, or soft from 0 to 255. What is above half of its largest value is
            lesion, so that a small one stays that has become faint by scaling.

    Example:
        >>> lesion_indices(np.array([[1, 0, 0, 1], [0, 1, 0, 0]]))
        LesionIndices(pixels=array([0, 5, 3], dtype=int32), bounds=array([0, 2, 3]))
    """
    lesion = mask > mask.max(initial=0) / 2
    height, width = np.flatnonzero(lesion.any(axis=1)), np.flatnonzero(lesion.any(axis=0))
    if height.size == 0:
        return LesionIndices(np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64))
    top, left = height[0], width[0]
    components, _ = ndimage.label(lesion[top : height[-1] + 1, left : width[-1] + 1], structure=_EIGHT_NEIGHBOURS)
    rows, columns = np.nonzero(components)
    number = components[rows, columns]
    pixels = ((rows + top) * mask.shape[1] + columns + left).astype(np.int32)
    return LesionIndices(pixels[np.argsort(number, kind="stable")], np.cumsum(np.bincount(number)).astype(np.int64))


class LesionIndicesd(MapTransform):
    """Add where the lesions are, as MONAI's ``ClassesToIndicesd`` does, for :class:`RandLesionCropsd`.

    It is deterministic, so that a ``CacheDataset`` keeps what it finds; the crops would otherwise look for the
    components each time.

    Args:
        keys: keys of masks (K, H, W), one for each lesion; they may overlap. The item gets a list of K
            :class:`LesionIndices` as ``<key>_lesion_indices``.
        allow_missing_keys: do not raise where a key is missing.
    """

    def __init__(self, keys: KeysCollection = "label", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the indices."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[f"{key}{INDICES_POSTFIX}"] = [lesion_indices(mask) for mask in convert_to_numpy(items[key])]
        return items
