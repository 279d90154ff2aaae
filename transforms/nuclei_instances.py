"""From a class for each pixel to single nuclei."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_numpy
from skimage.measure import label

__all__ = ["NucleiInstancesd", "nuclei_instances"]


def nuclei_instances(class_map: np.ndarray, minimum_area: int = 10) -> np.ndarray:
    """Take each connected piece of a class as a nucleus.

    Pixels are connected by their sides only: nuclei lie close, and those that touch at a corner stay apart. Nuclei of
    one class that share a border come out as one, which no class map can tell from one nucleus.

    Args:
        class_map: (H, W) integers, 0 is background.
        minimum_area: pieces of fewer pixels are no nuclei.

    Returns:
        (2, H, W) int32: number of the nucleus, from 1 on in reading order (by their first pixel from the top, then
        from the left) over all classes, and its class; both 0 in the background and in pieces that are too small.

    Example:
        >>> nuclei_instances(np.array([[0, 3, 3, 0], [1, 0, 3, 1], [1, 1, 0, 0]]), minimum_area=2)[0]
        array([[0, 1, 1, 0],
               [2, 0, 1, 0],
               [2, 2, 0, 0]], dtype=int32)
    """
    pieces = label(class_map, background=0, connectivity=1)
    area = np.bincount(pieces.ravel())
    kept = area >= max(minimum_area, 1)
    kept[0] = False
    # the first pixel of each piece: of several values for one index numpy keeps the last
    first = np.empty(len(area), dtype=np.intp)
    pixels = np.flatnonzero(pieces)[::-1]
    first[pieces.ravel()[pixels]] = pixels
    order = np.flatnonzero(kept)
    order = order[np.argsort(first[order])]
    numbers = np.zeros(len(area), dtype=np.int32)
    numbers[order] = np.arange(1, len(order) + 1)
    instances = numbers[pieces]
    return np.stack([instances, np.where(instances > 0, class_map, 0).astype(np.int32)])


class NucleiInstancesd(MapTransform):
    """Add the single nuclei of class maps: ``<key>_nuclei`` beside each key, see :func:`nuclei_instances`.

    Args:
        keys: keys of class maps (1, H, W), e.g. of
            :class:`~tinylesions.transforms.background_reuse.NucleiClassMapsd`. They stay as they are.
        minimum_area: pieces of fewer pixels are no nuclei.
        allow_missing_keys: do not raise where a key is missing.
    """

    def __init__(self, keys: KeysCollection, minimum_area: int = 10, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.minimum_area = minimum_area

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with (2, H, W) int32 added for each key, on the key's device."""
        items = dict(data)
        for key in self.key_iterator(items):
            nuclei = nuclei_instances(convert_to_numpy(items[key])[0], self.minimum_area)
            items[f"{key}_nuclei"] = convert_to_dst_type(nuclei, items[key], dtype=nuclei.dtype)[0]
        return items
