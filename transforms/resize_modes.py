"""The two ways in which a photo and a mask shrink: the mean and the largest of the pixels that a new one covers."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["enlarge_mask", "resize_to_largest", "resize_to_mean"]


def resize_to_mean(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Mean of the pixels that each new one covers, bilinear along a side that grows.

    Args:
        image: (C, H, W).
        size: the new height and width.

    Returns:
        (C, *size) float32.
    """
    before = tuple(image.shape[1:])
    if before == size:
        return image.float()
    shrunk = (min(size[0], before[0]), min(size[1], before[1]))
    if shrunk not in (before, size):  # one side shrinks, the other grows
        return resize_to_mean(resize_to_mean(image, shrunk), size)
    mode = "area" if shrunk == size else "bilinear"
    # channel by channel, since a whole photo in float32 takes 146 MB
    channels = [functional.interpolate(channel[None, None].float(), size=size, mode=mode)[0] for channel in image]
    return torch.cat(channels)


def resize_to_largest(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Largest of the pixels that each new one covers, even in part, nearest along a side that grows.

    Args:
        image: (C, H, W).
        size: the new height and width.

    Returns:
        (C, *size) of the same data type.
    """
    return _largest(_largest(image, 1, size[0]), 2, size[1])


def _largest(image: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """Largest of the pixels that each of `size` new ones covers along one dimension.

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


def enlarge_mask(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Enlarge a mask so that `resize_to_largest` gives it back: a new pixel is 1 where all that it is part of are.

    The inverse holds for sides that grow to twice their length or more, where each pixel has new ones of its own.

    Args:
        mask: (C, H, W) of 0 and 1.
        size: the new height and width.

    Returns:
        (C, *size), of the same data type.

    Example:
        >>> enlarge_mask(torch.tensor([[[1, 0]]]), (1, 5)).tolist()
        [[[1, 1, 0, 0, 0]]]
    """
    for dim, length in zip((1, 2), size, strict=True):
        pixels = torch.arange(length, device=mask.device)
        first = pixels * mask.shape[dim] // length
        last = ((pixels + 1) * mask.shape[dim] - 1) // length
        mask = torch.minimum(mask.index_select(dim, first), mask.index_select(dim, last))
    return mask
