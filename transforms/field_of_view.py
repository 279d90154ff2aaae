"""The round field of view of a fundus photo: its mask and the crop to it."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import CropForegroundd, MapTransform
from monai.utils import convert_to_numpy
from PIL import Image, ImageDraw
from scipy.ndimage import label
from scipy.spatial import ConvexHull
from skimage.filters import threshold_otsu

from tinylesions.datasets.errors import InputError

__all__ = ["FieldOfViewCropd", "FieldOfViewMaskd", "bounding_box", "field_of_view_mask", "otsu_box"]

logger = logging.getLogger(__name__)

LOW_THRESHOLD = 12
"""Grey level of 255 above which a pixel may belong to the field of view."""
SMALL_SIDE = 720
"""The mask's outline is found on the photo reduced to about this many pixels a side."""
MINIMUM_SHARE = 0.01
"""A smaller lit area, as a share of the frame, is no field of view."""
GUARD_LOSS = 0.01
"""Otsu's box may lose this share of the field of view before the guard takes the low-threshold box."""

Box = tuple[tuple[int, int], tuple[int, int]]


def _grey(photo: Any) -> np.ndarray:
    """(C, H, W) uint8 → (H, W) uint8: ITU-R 601 luma of three channels, else the mean."""
    channels = np.asarray(convert_to_numpy(photo))
    if channels.dtype != np.uint8:
        raise TypeError(f"the field of view is found on a uint8 photo, got {channels.dtype}")
    if channels.shape[0] == 3:
        return np.asarray(Image.fromarray(np.ascontiguousarray(channels.transpose(1, 2, 0))).convert("L"))
    return channels.mean(axis=0).astype(np.uint8)


def field_of_view_mask(photo: Any, threshold: int = LOW_THRESHOLD) -> np.ndarray:
    """Mask of the field of view: low threshold, largest component, convex hull (which fills the holes).

    Otsu's threshold is not used here: on dark photos it cuts off lesions (88 % of the haemorrhages of IDRiD_04).

    Args:
        photo: (C, H, W) uint8.
        threshold: grey level, 0 to 255, above which a pixel may belong to the field of view.

    Returns:
        (H, W) bool. All False where the largest lit component is under 1 % of the frame: a black photo.
    """
    grey = _grey(photo)
    height, width = grey.shape
    step = max(1, round(max(height, width) / SMALL_SIDE))
    small = np.asarray(Image.fromarray(grey).reduce(step))
    components, count = label(small > threshold)
    empty = np.zeros((height, width), dtype=bool)
    if count == 0:
        return empty
    largest = components == np.bincount(components.ravel())[1:].argmax() + 1
    if largest.mean() < MINIMUM_SHARE:
        return empty
    # the hull of the pixels' corners, so that a component one pixel wide has an area
    rows, columns = np.nonzero(largest)
    offsets = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    corners = (np.stack([columns, rows], axis=1)[:, None] + offsets).reshape(-1, 2)
    vertices = ConvexHull(corners).vertices
    # Pillow fills the pixels that a polygon ends on, so right and lower corners are given as the last pixel inside
    outline = corners[vertices] * step - offsets[vertices % 4]
    canvas = Image.new("1", (width, height))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in outline], fill=1)
    return np.array(canvas)


def bounding_box(mask: np.ndarray) -> Box:
    """Smallest box around the True pixels of an (H, W) mask: ((top, left), (bottom, right)), ends excluded.

    Raises:
        ValueError: nothing is True.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        raise ValueError("the mask is empty, it has no bounding box")
    return (int(rows[0]), int(columns[0])), (int(rows[-1]) + 1, int(columns[-1]) + 1)


def otsu_box(photo: Any) -> Box:
    """Box of the pixels brighter than Otsu's threshold of the grey photo (multi-task UNet++ paper, section 1.1).

    Args:
        photo: (C, H, W) uint8. A photo of one grey level gives the whole frame.
    """
    grey = _grey(photo)
    if grey.min() == grey.max():
        return (0, 0), grey.shape
    return bounding_box(grey > threshold_otsu(hist=(np.bincount(grey.ravel(), minlength=256), np.arange(256))))


class FieldOfViewMaskd(MapTransform):
    """Add the field of view of a photo as a (1, H, W) uint8 mask of 0 and 1.

    Args:
        keys: key of the photo, (C, H, W) uint8.
        mask_key: key of the mask that is added.
        threshold: see :func:`field_of_view_mask`.

    Raises:
        InputError: the photo is black, it has no field of view.
    """

    def __init__(self, keys: KeysCollection, mask_key: str = "field_of_view", threshold: int = LOW_THRESHOLD) -> None:
        super().__init__(keys)
        self.mask_key = mask_key
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the mask."""
        items = dict(data)
        photo = items[self.first_key(items)]
        mask = field_of_view_mask(photo, self.threshold)
        if not mask.any():
            raise InputError(
                f"{_name(photo)} has no field of view, it is darker than {self.threshold} of 255 nearly everywhere:"
                " leave it out, or check that it is a fundus photo."
            )
        tensor = torch.from_numpy(mask[None].astype(np.uint8))
        items[self.mask_key] = MetaTensor(tensor, meta=dict(photo.meta)) if isinstance(photo, MetaTensor) else tensor
        return items


class FieldOfViewCropd(CropForegroundd):
    """Crop to the box of the field of view; ``Invertd`` puts a prediction back into the full frame.

    Otsu's threshold decides the box (the paper's section 1.1). On photos with a dark part it cuts into the retina,
    so the guard compares it with the box of the low-threshold mask and takes that one, with a warning that names
    the photo, where Otsu would lose more than 1 % of the field of view.

    Args:
        keys: keys to crop, (C, H, W) each.
        source_key: key of the uint8 photo that Otsu's threshold is computed on.
        mask_key: key of the field-of-view mask that :class:`FieldOfViewMaskd` made.
        method: ``"otsu"`` (the paper's) or ``"threshold"`` (the box of the mask).
        guard: whether the comparison is made.
        allow_missing_keys: do not raise where a key is missing.

    Example:
        >>> from monai.transforms import Compose
        >>> crop = Compose([FieldOfViewMaskd("image"), FieldOfViewCropd(["image", "field_of_view"])])
        >>> photo = torch.zeros(3, 60, 80, dtype=torch.uint8)
        >>> photo[:, 10:50, 20:60] = 200
        >>> crop({"image": photo})["image"].shape
        torch.Size([3, 40, 40])
    """

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str = "image",
        mask_key: str = "field_of_view",
        method: str = "otsu",
        guard: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        if method not in ("otsu", "threshold"):
            raise ValueError(f'method is "otsu" or "threshold", got {method!r}')
        super().__init__(keys, source_key=source_key, allow_smaller=True, allow_missing_keys=allow_missing_keys)
        self.mask_key = mask_key
        self.method = method
        self.guard = guard

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Return the data with the keys cropped."""
        items = dict(data)
        mask = convert_to_numpy(items[self.mask_key])[0] > 0
        start, end = self._box(items[self.source_key], mask)
        for key, mode in self.key_iterator(items, self.mode):
            items[key] = self.cropper.crop_pad(items[key], np.asarray(start), np.asarray(end), mode, lazy=bool(lazy))
        return items

    def _box(self, photo: Any, mask: np.ndarray) -> Box:
        if self.method == "threshold":
            return bounding_box(mask)
        (top, left), (bottom, right) = box = otsu_box(photo)
        if self.guard:
            lost = 1 - mask[top:bottom, left:right].sum() / mask.sum()
            if lost > GUARD_LOSS:
                logger.warning(
                    f"{_name(photo)}: Otsu's box would lose {lost:.1%} of the field of view;"
                    " cropped to the low-threshold box instead."
                )
                return bounding_box(mask)
        return box


def _name(photo: Any) -> str:
    return str(photo.meta.get("filename_or_obj", "the photo")) if isinstance(photo, MetaTensor) else "the photo"
