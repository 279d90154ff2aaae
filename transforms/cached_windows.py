"""Batches of training windows from cached photos: the fast twin of ``SlidingWindowPatchesd``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from monai.utils import ensure_tuple_rep

from tinylesions.transforms.packed_pixels import SYMMETRIES
from tinylesions.transforms.window_cache import cache_windows
from tinylesions.transforms.window_sampling import WindowSampling, draw_epoch, epoch_generator

__all__ = ["CachedWindowLoader"]


class CachedWindowLoader:
    """Batches of training windows, cut on the training device from photos that are decoded once.

    The windows are those of :class:`SlidingWindowPatchesd`: the sliding-window grid, windows without any lesion dropped
    or a share of them kept, small photos padded. Each is flipped and turned at random, all eight ways alike (the four
    that keep its shape where h is not w), and scaled to [0, 1]. A photo takes 4 bytes a pixel, whatever the overlap;
    one that gives no window takes none.

    Iterating draws an epoch. Its random numbers are torch's at that moment, so that an epoch whose seed is set, as
    :class:`~tinylesions.handlers.EpochSeed` does, is always the same.

    Args:
        photos: items with ``image`` (3, H, W) uint8 and ``label``, the (1, H, W) uint8 label map.
        roi_size: (h, w) of a window, or one number for both.
        overlap: share of a window that its neighbour covers, in [0, 1).
        lesion_free_share: share in [0, 1] of the lesion-free windows that are kept, drawn once; 0 is the paper's.
        sampling: how often the windows are drawn; by default each once an epoch.
        batch_size: windows in a batch; an epoch's last may be smaller.
        device: where the photos lie and the batches are cut.
        cache_gigabytes: most that the photos may take (of 1e9 bytes); on a GPU at most half of what is free there, for
            the network needs room too.

    Raises:
        ValueError: a number is out of range.
        InputError: the photos take too much memory, or hold no window of a kind that the sampling asks for.

    Example:
        >>> label_map = torch.zeros(1, 128, 128, dtype=torch.uint8)
        >>> label_map[0, 70, 10] = 1
        >>> photos = [{"image": torch.zeros(3, 128, 128, dtype=torch.uint8), "label": label_map}]
        >>> [(tuple(batch["image"].shape), int(batch["label"].sum())) for batch in CachedWindowLoader(photos)]
        [((1, 3, 64, 64), 1)]
    """

    def __init__(
        self,
        photos: Iterable[Mapping[str, Any]],
        roi_size: Sequence[int] | int = 64,
        overlap: float = 0.0,
        lesion_free_share: float = 0.0,
        sampling: WindowSampling | None = None,
        batch_size: int = 64,
        device: torch.device | str = "cpu",
        cache_gigabytes: float = 16.0,
    ) -> None:
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap is at least 0 and below 1, got {overlap}")
        if not 0 <= lesion_free_share <= 1:
            raise ValueError(f"lesion_free_share is between 0 and 1, got {lesion_free_share}")
        if batch_size < 1:
            raise ValueError(f"batch_size is at least 1, got {batch_size}")
        self.device = torch.device(device)
        self.batch_size = batch_size
        size = ensure_tuple_rep(roi_size, 2)
        self.cache = cache_windows(photos, size, overlap, lesion_free_share, self.device, cache_gigabytes)
        self.quotas = (sampling or WindowSampling()).quotas(self.cache.held)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return math.ceil(sum(count for _, count in self.quotas) / self.batch_size)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Draw an epoch; its batches are those of :meth:`WindowCache.cut`."""
        generator = epoch_generator()
        windows = draw_epoch(self.quotas, generator)
        height, width = self.cache.roi_size
        kinds = SYMMETRIES if height == width else SYMMETRIES // 2
        symmetries = torch.randint(kinds, windows.shape, generator=generator)
        batches = (numbers.to(self.device).split(self.batch_size) for numbers in (windows, symmetries))
        for batch in zip(*batches, strict=True):
            yield self.cache.cut(*batch)
