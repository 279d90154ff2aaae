"""The windows that hold a lesion: what the protocol ``lesion_patches`` looks at."""

from __future__ import annotations

import torch

__all__ = ["WINDOW", "lesion_window_pixels"]

WINDOW = 64
"""Side of a window (multi-task UNet++ paper, section 1.2)."""


def lesion_window_pixels(truth: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Pixels of the 64×64 windows that hold a pixel of any lesion.

    The windows lie side by side without overlap, from the top left corner of the field of view's bounding box; those
    of the last row and column end with the box. Nothing outside the box belongs to a window.

    Args:
        truth: (K, H, W), non-zero is the class.
        mask: (1, H, W), non-zero is inside the field of view; all is by default.

    Returns:
        (H, W) bool.
    """
    lesion = truth.amax(0) > 0
    pixels = torch.zeros_like(lesion)
    inside = torch.ones_like(lesion) if mask is None else mask[0].bool()
    if not inside.any():
        return pixels
    box = (_extent(inside.any(1)), _extent(inside.any(0)))
    height, width = lesion[box].shape
    rows, columns = lesion[box].nonzero().unbind(1)
    windows = lesion.new_zeros(-(-height // WINDOW), -(-width // WINDOW))
    windows[rows // WINDOW, columns // WINDOW] = True
    pixels[box] = windows.repeat_interleave(WINDOW, 0).repeat_interleave(WINDOW, 1)[:height, :width]
    return pixels


def _extent(line: torch.Tensor) -> slice:
    places = line.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1)
