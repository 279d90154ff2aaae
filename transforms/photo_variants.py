"""Every photo of a training set mirrored and turned, as a data set six times as long."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import CacheDataset
from monai.utils import convert_to_tensor, ensure_tuple

__all__ = ["VARIANTS", "PhotoVariantsDataset", "photo_variant"]

VARIANTS = ("identity", "horizontal_flip", "vertical_flip", "rotation_90", "rotation_180", "rotation_270")
"""The variants in the order of their numbers. A horizontal flip exchanges left and right; rotations are in degrees,
counter-clockwise as a viewer sees the photo, and exchange height and width where they are 90 or 270."""


def photo_variant(image: torch.Tensor, variant: int) -> torch.Tensor:
    """Mirror or turn an image.

    Args:
        image: (C, H, W) of any data type.
        variant: index into :data:`VARIANTS`.

    Returns:
        (C, H, W) or (C, W, H), a new contiguous tensor.

    Raises:
        ValueError: there is no such variant.

    Example:
        >>> photo_variant(torch.tensor([[[1, 2, 3]]]), VARIANTS.index("rotation_90")).tolist()
        [[[3], [2], [1]]]
    """
    if variant not in range(len(VARIANTS)):
        raise ValueError(f"variant is 0 to {len(VARIANTS) - 1}, got {variant!r}")
    name = VARIANTS[variant]
    if name == "identity":
        return image.clone(memory_format=torch.contiguous_format)
    if name.endswith("flip"):
        return image.flip(-1 if name == "horizontal_flip" else -2)
    return torch.rot90(image, int(name.removeprefix("rotation_")) // 90, dims=(-2, -1)).contiguous()


class PhotoVariantsDataset(CacheDataset):
    """Each photo in six variants: item i is variant ``i % 6`` of photo ``i // 6``.

    Red-Seg paper (000), section 3: rotation and mirroring make 324 photos of 54; it does not name the six. A photo is
    loaded and cached once, the variants are made of it when they are asked for.

    Args:
        data: the photos' items, such as a datalist; `self.data` stays this list.
        transform: loads and prepares an item.
        keys: keys of the (C, H, W) images to turn, all alike; they come out as plain tensors. What an item has
            beside them is kept.
        cache_rate: share of the photos that is kept in memory.
        num_workers: threads that fill the cache.
        progress: show a bar while the cache is filled.

    Example:
        >>> photos = PhotoVariantsDataset([{"image": torch.rand(3, 4, 6)}], None, "image", progress=False)
        >>> len(photos), photos[1]["image"].shape, photos[3]["image"].shape
        (6, torch.Size([3, 4, 6]), torch.Size([3, 6, 4]))
    """

    def __init__(
        self,
        data: Sequence[Mapping[Hashable, Any]],
        transform: Sequence[Callable[..., Any]] | Callable[..., Any] | None,
        keys: KeysCollection,
        cache_rate: float = 1.0,
        num_workers: int | None = 1,
        progress: bool = True,
    ) -> None:
        super().__init__(data, transform, cache_rate=cache_rate, num_workers=num_workers, progress=progress)
        self.keys = ensure_tuple(keys)

    def __len__(self) -> int:
        return len(VARIANTS) * len(self.data)

    def _transform(self, index: int) -> dict[Hashable, Any]:
        photo, variant = divmod(index, len(VARIANTS))
        items = dict(super()._transform(photo))
        for key in self.keys:
            items[key] = photo_variant(convert_to_tensor(items[key], track_meta=False), variant)
        return items
