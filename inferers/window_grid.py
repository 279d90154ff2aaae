"""The sliding-window grid: where its windows lie, and which of them touch a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F

__all__ = ["Segment", "WindowGrid", "axis_starts", "window_grid"]


def axis_starts(size: int, roi: int, overlap: float, grid: str = "monai") -> tuple[int, ...]:
    """Where the windows of one axis start.

    Args:
        size: length of the axis, at least `roi`.
        roi: length of a window.
        overlap: share of a window that its neighbour covers, in [0, 1).
        grid: ``"monai"``: steps of `roi` · (1 - overlap), the last window drawn back to the border, as MONAI's
            ``SlidingWindowInferer`` does; ``"even"``: as many windows, their steps equal to within a pixel.
    """
    last = size - roi
    step = max(1, int(roi * (1 - overlap)))
    steps = math.ceil(last / step)
    if grid == "even":
        return tuple(index * last // max(steps, 1) for index in range(steps + 1))
    return tuple(min(index * step, last) for index in range(steps + 1))


class Segment(NamedTuple):
    """Windows `first` to `end` of a list, which lie side by side at `top`, a constant `step` apart from `left` on."""

    top: int
    left: int
    step: int
    first: int
    end: int


@dataclass(frozen=True)
class WindowGrid:
    """Windows over a photo.

    Attributes:
        tops: first row of each row of windows.
        lefts: first column of each column of windows.
        roi_size: (h, w) of a window.
    """

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    roi_size: tuple[int, int]

    def touching(self, mask: torch.Tensor) -> torch.Tensor:
        """Which windows hold at least one pixel of a mask.

        Args:
            mask: (H, W) bool.

        Returns:
            (rows of windows, columns of windows) bool.
        """
        bands = _sums(mask, self.tops, self.roi_size[0])
        return _sums(bands.T, self.lefts, self.roi_size[1]).T > 0

    def segments(self, rows: torch.Tensor, columns: torch.Tensor) -> list[Segment]:
        """Take windows, given by their rows and columns (n,) in the grid, together where they lie side by side."""
        tops, lefts = torch.tensor(self.tops)[rows], torch.tensor(self.lefts)[columns]
        step = lefts.diff()
        beside = (rows.diff() == 0) & (columns.diff() == 1) & (step > 0)
        # a step that differs from the one before begins a new segment
        beside[1:] &= (step.diff() == 0) | ~beside[:-1]
        breaks = [0, *((~beside).nonzero()[:, 0] + 1).tolist(), len(rows)]
        return [
            Segment(int(tops[first]), int(lefts[first]), int(step[first]) if end - first > 1 else 1, first, end)
            for first, end in pairwise(breaks)
        ]

    def scaled(self, roi_size: tuple[int, int]) -> WindowGrid:
        """The grid of an output whose windows have another size (h, w), e.g. half of the input's, rounded down."""
        tops, lefts = (
            tuple(start * new // old for start in starts)
            for starts, new, old in zip((self.tops, self.lefts), roi_size, self.roi_size, strict=True)
        )
        return WindowGrid(tops, lefts, roi_size)


def _sums(pixels: torch.Tensor, starts: Sequence[int], length: int) -> torch.Tensor:
    """Sums over `length` pixels along the first axis from each start on."""
    sums = F.pad(pixels.cumsum(0, dtype=torch.int32), (0, 0, 1, 0))
    first = torch.tensor(starts, device=pixels.device)
    return sums[first + length] - sums[first]


def window_grid(
    size: Sequence[int], roi_size: Sequence[int], overlap: Sequence[float], grid: str = "monai"
) -> WindowGrid:
    """Lay the windows over a photo of (H, W), at least `roi_size`; see :func:`axis_starts`."""
    tops, lefts = (axis_starts(*axis, grid) for axis in zip(size, roi_size, overlap, strict=True))
    return WindowGrid(tops, lefts, (roi_size[0], roi_size[1]))
