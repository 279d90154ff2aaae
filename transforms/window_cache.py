"""Photos decoded once, with the windows to train on indexed in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from monai.utils import convert_to_tensor
from tqdm import tqdm

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import CLASSES, LESIONS
from tinylesions.transforms.packed_pixels import gather_windows, pack_pixels, unpack_pixels
from tinylesions.transforms.patches import window_origins
from tinylesions.transforms.window_sampling import lesions_in_windows

__all__ = ["WindowCache", "cache_windows"]

_PADDING = {"image": 0, "label": CLASSES.index("black_background")}


@dataclass(frozen=True)
class WindowCache:
    """Packed photos, one behind the other, and where in them the windows lie.

    Args:
        pixels: (P,) int32 on the device that cuts, see :func:`~tinylesions.transforms.packed_pixels.pack_pixels`.
        starts: (windows,) int64 beside them, where each window's top left pixel lies.
        strides: (windows,) int64 beside them, width of each window's photo.
        held: (windows, 4) bool in main memory, the lesions of each window in ``LESIONS`` order.
        roi_size: (h, w) of a window.
    """

    pixels: torch.Tensor
    starts: torch.Tensor
    strides: torch.Tensor
    held: torch.Tensor
    roi_size: tuple[int, int]

    def cut(self, windows: torch.Tensor, symmetries: torch.Tensor) -> dict[str, torch.Tensor]:
        """Cut a batch.

        Args:
            windows: (N,) int64, numbers of windows.
            symmetries: (N,) int64, see :func:`~tinylesions.transforms.packed_pixels.gather_windows`.

        Returns:
            ``image`` (N, 3, h, w) float32 in [0, 1], channels last in memory, and ``label`` (N, 1, h, w) uint8.
        """
        starts, strides = self.starts[windows], self.strides[windows]
        image, label = unpack_pixels(gather_windows(self.pixels, starts, strides, symmetries, self.roi_size))
        return {"image": image, "label": label}


def cache_windows(
    photos: Iterable[Mapping[str, Any]],
    roi_size: tuple[int, int],
    overlap: float,
    lesion_free_share: float,
    device: torch.device,
    gigabytes: float,
) -> WindowCache:
    """Decode photos and index their windows; arguments as in :class:`~tinylesions.transforms.CachedWindowLoader`.

    Raises:
        InputError: the photos take too much memory.
    """
    packed, starts, strides, held = [], [], [], []
    size = 0
    for photo in tqdm(photos, desc="cutting windows", unit="photo"):
        image, label_map = (_pad(photo[key], roi_size, value) for key, value in _PADDING.items())
        origins = window_origins(label_map.shape[1:], roi_size, overlap)
        lesions = lesions_in_windows(label_map, origins, roi_size)
        keep = lesions.any(1) | (torch.rand(len(origins)) < lesion_free_share)
        if not keep.any():
            continue
        width = label_map.shape[2]
        starts.append(size + origins[keep, 0] * width + origins[keep, 1])
        strides.append(torch.full_like(starts[-1], width))
        held.append(lesions[keep])
        packed.append(pack_pixels(image, label_map).flatten())
        size += len(packed[-1])
        _check_room(size * packed[-1].element_size(), device, gigabytes)
    none = torch.empty(0, dtype=torch.int64)
    return WindowCache(
        _join(packed, size, device),
        torch.cat([none, *starts]).to(device),
        torch.cat([none, *strides]).to(device),
        torch.cat([torch.empty(0, len(LESIONS), dtype=torch.bool), *held]),
        roi_size,
    )


def _pad(tensor: Any, roi_size: Sequence[int], value: int) -> torch.Tensor:
    """Make a photo or a label map at least as large as a window, at its bottom and right."""
    plain = convert_to_tensor(tensor, track_meta=False)
    (height, width), (rows, columns) = plain.shape[1:], roi_size
    return F.pad(plain, (0, max(0, columns - width), 0, max(0, rows - height)), value=value)


def _check_room(size: int, device: torch.device, gigabytes: float) -> None:
    limit = gigabytes * 1e9
    if device.type == "cuda":
        limit = min(limit, torch.cuda.mem_get_info(device)[0] / 2)
    if size > limit:
        raise InputError(
            f"The photos to cache take more than {limit / 1e9:.3g} GB: raise cache_gigabytes if there is more memory,"
            " or set cache_windows to false, which keeps the windows alone."
        )


def _join(packed: list[torch.Tensor], size: int, device: torch.device) -> torch.Tensor:
    """Lay the photos one behind the other, and free each as it is copied: memory never holds them twice."""
    pixels = torch.empty(size, dtype=torch.int32, device=device)
    while packed:
        photo = packed.pop()
        pixels[size - len(photo) : size] = photo
        size -= len(photo)
    return pixels
