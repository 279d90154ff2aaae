"""Which windows an inference will run, known before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tinylesions.inferers.window_grid import WindowGrid, window_grid

__all__ = ["WindowPlan", "plan_windows"]


@dataclass(frozen=True)
class WindowPlan:
    """The windows of a batch of photos.

    Attributes:
        grid: where the windows lie on the padded photos.
        padding: (left, right, top, bottom) pixels around photos that are smaller than a window.
        size: (H, W) of the padded photos.
        run: (N, rows of windows, columns of windows) bool on the CPU: the windows that touch the foreground.
    """

    grid: WindowGrid
    padding: tuple[int, int, int, int]
    size: tuple[int, int]
    run: torch.Tensor

    @property
    def windows(self) -> int:
        """How many windows run."""
        return int(self.run.sum())

    @property
    def skipped(self) -> int:
        """How many windows of the grid do not touch the foreground."""
        return self.run.numel() - self.windows


def plan_windows(
    foreground: torch.Tensor, roi_size: Sequence[int], overlap: Sequence[float], grid: str = "monai"
) -> WindowPlan:
    """Lay the grid over photos and find the windows that touch the foreground.

    Args:
        foreground: (N, H, W) bool.
        roi_size: (h, w) of a window; photos that are smaller are padded on both sides, as MONAI pads them.
        overlap: share of a window that its neighbour covers, for rows and columns.
        grid: see :func:`~tinylesions.inferers.window_grid.axis_runs`.
    """
    missing = [max(roi - side, 0) for roi, side in zip(roi_size, foreground.shape[1:], strict=True)]
    (top, bottom), (left, right) = ((pixels // 2, math.ceil(pixels / 2)) for pixels in missing)
    padding = (left, right, top, bottom)
    padded = torch.nn.functional.pad(foreground, padding)
    size = (padded.shape[1], padded.shape[2])
    windows = window_grid(size, roi_size, overlap, grid)
    run = torch.stack([windows.touching(mask) for mask in padded]).cpu()
    return WindowPlan(windows, padding, size, run)
