"""Stitch windows into a map: the weighted mean of all windows that cover a pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tinylesions.inferers.window_grid import WindowGrid

__all__ = ["MapStitcher", "add_windows"]


def add_windows(strip: torch.Tensor, windows: torch.Tensor, left: int, step: int) -> None:
    """Add windows side by side to the strip of the map that they lie on, in place, without a loop over windows.

    Windows that are far enough apart not to overlap are one strided view of the strip, so that there are as many
    additions as windows cover a pixel, always in the same order.

    Args:
        strip: (C, h, W).
        windows: (n, C, h, w).
        left: where the first window starts along W.
        step: how far each window lies from the one before.
    """
    width = windows.shape[-1]
    layers = min(len(windows), -(-width // step))
    for layer in range(layers):
        apart = windows[layer::layers]
        places = strip[..., left + layer * step :].unfold(-1, width, layers * step)
        places[..., : len(apart), :] += apart.permute(1, 2, 0, 3)


class MapStitcher:
    """The map of one photo, to which windows are added batch by batch.

    Args:
        channels: C of the map.
        size: (H, W) of the map.
        grid: where the windows lie.
        importance: (h, w) weight of a window's pixels.
        background: value of pixels that no window covers, one or one for each channel; fewer values are repeated.
        device: where the map lies.

    Raises:
        ValueError: the number of background values does not divide the channels.
    """

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        grid: WindowGrid,
        importance: torch.Tensor,
        background: float | Sequence[float],
        device: torch.device,
    ) -> None:
        values = torch.as_tensor(background, dtype=torch.float32).flatten().tolist()
        if not values or channels % len(values):
            raise ValueError(f"{len(values)} background values do not fit an output of {channels} channels.")
        self.background = values * (channels // len(values))
        self.grid = grid
        self.importance = importance.to(device)
        self.sum = torch.zeros(channels, *size, device=device)
        self.weight = torch.zeros(1, *size, device=device)

    def add(self, windows: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> None:
        """Add windows (n, C, h, w), weighted already, that lie in these rows and columns (n,) of the grid."""
        weights = self.importance.expand(len(windows), 1, -1, -1)
        for top, left, step, first, end in self.grid.segments(rows, columns):
            for map_, added in ((self.sum, windows), (self.weight, weights)):
                add_windows(map_[:, top : top + self.grid.roi_size[0]], added[first:end], left, step)

    def mean(self) -> torch.Tensor:
        """The map (C, H, W); it is made in place: no windows can be added after it."""
        empty = self.weight[0] == 0
        self.sum /= self.weight.masked_fill_(empty, 1)
        for channel, value in zip(self.sum, self.background, strict=True):
            channel.masked_fill_(empty, value)
        return self.sum
