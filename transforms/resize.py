"""Shrink whole photos for one pass of a network, and bring a prediction back to the photo's own size."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, get_track_meta
from monai.transforms import InvertibleTransform, MapTransform, Resize
from monai.transforms.utils import scale_affine
from monai.utils import TraceKeys, convert_to_tensor, ensure_tuple_rep
from torch.nn import functional

__all__ = ["ResizeLongestSided"]


class ResizeLongestSided(MapTransform, InvertibleTransform):
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
        super().__init__(keys, allow_missing_keys)
        if longest_side < 1:
            raise ValueError(f"longest_side is a number of pixels, got {longest_side}")
        self.longest_side = longest_side
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        unknown = set(self.mode) - {"area", "max"}
        if unknown:
            raise ValueError(f'mode is "area" or "max", got {sorted(unknown)}')
        self.resizer = Resize(longest_side, size_mode="longest", mode="bilinear")  # its record is what it inverts

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
        before = tuple(tracked.shape[1:])
        scale = self.longest_side / max(before)
        after = tuple(max(1, round(side * scale)) for side in before)
        meta = self.resizer.track_transform_meta(
            tracked,
            sp_size=after,
            affine=scale_affine(before, after),
            extra_info={"mode": "bilinear", "align_corners": TraceKeys.NONE, "dtype": "float32", "new_dim": 0},
            orig_size=before,
            transform_info=self.resizer.get_transform_info(),
        )
        plain = convert_to_tensor(tracked, track_meta=False)
        resized = _area(plain, after) if mode == "area" else _maximum(_maximum(plain, 1, after[0]), 2, after[1])
        return MetaTensor(resized).copy_meta_from(meta) if isinstance(tracked, MetaTensor) else resized


def _area(image: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """(C, H, W) → (C, *size) float32; channel by channel, since a whole photo in float32 takes 146 MB."""
    if tuple(image.shape[1:]) == size:
        return image.float()
    mode = "area" if max(size) < max(image.shape[1:]) else "bilinear"
    channels = [functional.interpolate(channel[None, None].float(), size=size, mode=mode)[0] for channel in image]
    return torch.cat(channels)


def _maximum(image: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """Largest value of the pixels that each of `size` new ones covers, even in part, along one dimension.

    Torch's adaptive pooling knows no uint8; along one dimension after the other this takes a fifth of its time.
    """
    length = image.shape[dim]
    pixels = torch.arange(size, device=image.device)
    starts = pixels * length // size
    # an enlarged pixel lies in parts of two: it takes its first, as "nearest" does
    lasts = ((pixels + 1) * length - 1) // size if size < length else starts
    largest = image.index_select(dim, starts)
    for offset in range(1, int((lasts - starts).max()) + 1):
        covered = image.index_select(dim, torch.minimum(starts + offset, lasts))
        torch.maximum(largest, covered, out=largest)
    return largest
