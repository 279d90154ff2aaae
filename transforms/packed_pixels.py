"""Windows, flipped and turned, cut from packed pixels: a photo's three colours and its class in four bytes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["SYMMETRIES", "gather_windows", "pack_pixels", "unpack_pixels"]

SYMMETRIES = 8
"""Ways to lay a square on itself. Bits of a symmetry's number: 1 flips the rows, 2 the columns, 4 then transposes."""


def pack_pixels(photo: torch.Tensor, label_map: torch.Tensor) -> torch.Tensor:
    """Put colours and class side by side, so that one read fetches all of a pixel.

    Args:
        photo: (3, H, W) uint8.
        label_map: (1, H, W) uint8.

    Returns:
        (H, W) int32.

    Raises:
        ValueError: not three colours and one label map of uint8.
    """
    for name, tensor, channels in (("photo", photo, 3), ("label map", label_map, 1)):
        if tensor.dtype != torch.uint8 or len(tensor) != channels:
            raise ValueError(f"the {name} is ({channels}, H, W) uint8, got {tuple(tensor.shape)} {tensor.dtype}")
    return torch.stack([*photo, *label_map], dim=-1).view(torch.int32)[..., 0]


def unpack_pixels(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Separate packed windows into images and label maps.

    Args:
        pixels: (N, h, w) int32, see :func:`pack_pixels`.

    Returns:
        Images (N, 3, h, w) float32 in [0, 1], channels last in memory, and label maps (N, 1, h, w) uint8.
    """
    channels = pixels[..., None].view(torch.uint8).movedim(-1, 1)
    return channels[:, :3] / 255, channels[:, 3:].contiguous()


def gather_windows(
    pixels: torch.Tensor,
    starts: torch.Tensor,
    strides: torch.Tensor,
    symmetries: torch.Tensor,
    roi_size: Sequence[int],
) -> torch.Tensor:
    """Cut windows by one gather, whose indices hold the flips and the turns.

    Args:
        pixels: (P,) the rows of all photos, one behind the other.
        starts: (N,) int64, where each window's top left pixel lies.
        strides: (N,) int64, width of each window's photo.
        symmetries: (N,) int64 below :data:`SYMMETRIES`, and below 4, which transposes none, where h is not w.
        roi_size: (h, w) of a window.

    Returns:
        (N, h, w).

    Example:
        >>> photo = torch.arange(12).view(3, 4)
        >>> gather_windows(photo.flatten(), torch.tensor([1]), torch.tensor([4]), torch.tensor([2]), (2, 2))
        tensor([[[2, 1],
                 [6, 5]]])
    """
    height, width = roi_size
    rows, columns = (torch.arange(side, device=pixels.device) for side in roi_size)
    flips_rows, flips_columns, transposes = ((symmetries[:, None] & bit) > 0 for bit in (1, 2, 4))
    down = torch.where(flips_rows, height - 1 - rows, rows) * strides[:, None]
    right = torch.where(flips_columns, width - 1 - columns, columns)
    if height == width:
        down, right = torch.where(transposes, right, down), torch.where(transposes, down, right)
    indices = (starts[:, None] + down)[:, :, None] + right[:, None, :]
    return pixels.index_select(0, indices.flatten()).view(indices.shape)
