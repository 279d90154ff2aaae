"""Shrink whole photos for one pass of a network, and bring a prediction back to the photo's own size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, get_track_meta
from monai.transforms import InvertibleTransform, MapTransform, Resize
from monai.transforms.utils import scale_affine
from monai.utils import TraceKeys, convert_to_tensor, ensure_tuple_rep

from tinylesions.transforms.resize_modes import resize_to_largest, resize_to_mean

__all__ = ["ResizeLongestSided", "ResizeToSized"]


class _PhotoResize(MapTransform, InvertibleTransform):
    """Photos and masks to the size that a subclass chooses, predictions back by bilinear interpolation.

    Raises:
        ValueError: a mode is neither ``"area"`` nor ``"max"``.
    """

    def __init__(
        self, keys: KeysCollection, resizer: Resize, mode: Sequence[str] | str, allow_missing_keys: bool
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        unknown = set(self.mode) - {"area", "max"}
        if unknown:
            raise ValueError(f'mode is "area" or "max", got {sorted(unknown)}')
        self.resizer = resizer  # its record is what it inverts

    @abstractmethod
    def new_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width that a photo of some height and width gets."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the keys resized."""
        items = dict(data)
        for key, mode in self.key_iterator(items, self.mode):
            items[key] = self._resize(items[key], mode)
        return items

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the keys at their original size, float32."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = self.resizer.inverse(items[key])
        return items

    def _resize(self, image: Any, mode: str) -> torch.Tensor:
        tracked = convert_to_tensor(image, track_meta=get_track_meta())
        height, width = before = tuple(tracked.shape[1:])
        after = self.new_size((height, width))
        meta = self.resizer.track_transform_meta(
            tracked,
            sp_size=after,
            affine=scale_affine(before, after),
            extra_info={"mode": "bilinear", "align_corners": TraceKeys.NONE, "dtype": "float32", "new_dim": 0},
            orig_size=before,
            transform_info=self.resizer.get_transform_info(),
        )
        plain = convert_to_tensor(tracked, track_meta=False)
        resized = resize_to_mean(plain, after) if mode == "area" else resize_to_largest(plain, after)
        return MetaTensor(resized).copy_meta_from(meta) if isinstance(tracked, MetaTensor) else resized


class ResizeLongestSided(_PhotoResize):
    """Make the longer side of photos and masks `longest_side` pixels and keep their proportions.

    The shorter side is rounded as by ``monai.transforms.Resize(size_mode="longest")``: 4288×2848 becomes 1072×712.
    What differs from it are masks, and the inverse: a probability map comes back to the full size by bilinear
    interpolation (half-pixel centres), where MONAI would repeat ``"area"``, which gives blocks. ``Invertd`` wants the
    prediction as a ``MetaTensor``.

    Args:
        keys: keys to resize, (C, H, W) each.
        longest_side: in pixels.
        mode: one for all keys or one for each.
            ``"area"``, for photos: each pixel is the mean of those that it covers, bilinear where the photo is
            enlarged; gives float32.
            ``"max"``, for masks: each pixel is the largest of those that it covers, so that a lesion of one pixel
            stays (a mean or the nearest pixel would lose most microaneurysms), nearest where the mask is enlarged;
            keeps the data type.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        ValueError: `longest_side` is below 1, or a mode is neither.

    Example:
        >>> resize = ResizeLongestSided(["image", "label"], longest_side=8, mode=["area", "max"])
        >>> label = torch.zeros(1, 12, 16, dtype=torch.uint8)
        >>> label[0, 5, 9] = 1
        >>> small = resize({"image": torch.rand(3, 12, 16), "label": label})
        >>> small["image"].shape, small["label"].nonzero().tolist()
        (torch.Size([3, 6, 8]), [[0, 2, 4]])
        >>> resize.inverse(small)["image"].shape
        torch.Size([3, 12, 16])
    """

    def __init__(
        self,
        keys: KeysCollection,
        longest_side: int,
        mode: Sequence[str] | str = "area",
        allow_missing_keys: bool = False,
    ) -> None:
        if longest_side < 1:
            raise ValueError(f"longest_side is a number of pixels, got {longest_side}")
        super().__init__(keys, Resize(longest_side, size_mode="longest", mode="bilinear"), mode, allow_missing_keys)
        self.longest_side = longest_side

    def new_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width, the longer `longest_side`."""
        scale = self.longest_side / max(size)
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class ResizeToSized(_PhotoResize):
    """Stretch photos and masks to one size, whatever their proportions.

    Modes and inverse are those of :class:`ResizeLongestSided`.

    Args:
        keys: keys to resize, (C, H, W) each.
        spatial_size: (height, width) in pixels.
        mode: ``"area"`` for photos, ``"max"`` for masks; one for all keys or one for each.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        ValueError: `spatial_size` is not two sizes of 1 or more, or a mode is neither.

    Example:
        >>> resize = ResizeToSized("image", spatial_size=(8, 8))
        >>> small = resize({"image": torch.rand(3, 12, 16)})
        >>> small["image"].shape, resize.inverse(small)["image"].shape
        (torch.Size([3, 8, 8]), torch.Size([3, 12, 16]))
    """

    def __init__(
        self,
        keys: KeysCollection,
        spatial_size: Sequence[int],
        mode: Sequence[str] | str = "area",
        allow_missing_keys: bool = False,
    ) -> None:
        if len(spatial_size) != 2 or min(spatial_size) < 1:
            raise ValueError(f"spatial_size is a height and a width in pixels, got {list(spatial_size)}")
        height, width = spatial_size
        super().__init__(keys, Resize((height, width), mode="bilinear"), mode, allow_missing_keys)
        self.spatial_size = (height, width)

    def new_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """`spatial_size`, whatever the photo's."""
        return self.spatial_size
