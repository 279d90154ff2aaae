"""The windows of one photo: cut, run and stitched in batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
import torch.nn.functional as F

from tinylesions.inferers.outputs import Outputs
from tinylesions.inferers.stitching import MapStitcher
from tinylesions.inferers.transfer import start_copy
from tinylesions.inferers.window_grid import WindowGrid

__all__ = ["infer_photo"]


def infer_photo(
    photo: torch.Tensor,
    run: torch.Tensor,
    grid: WindowGrid,
    forward: Callable[[torch.Tensor], Outputs],
    batch_size: int,
    importance: torch.Tensor,
    background: float | Sequence[float],
    device: torch.device,
    on_batch: Callable[[int], None],
) -> Outputs:
    """Stitch the outputs of a photo's windows.

    Args:
        photo: (C, H, W), at least as large as a window.
        run: (rows of windows, columns of windows) bool on the CPU, which windows to run.
        grid: where the windows lie.
        forward: gives the outputs (n, K, h', w') of windows (n, C, h, w), by key.
        batch_size: windows of one call.
        importance: (h, w) weight of a window's pixels.
        background: see :class:`~tinylesions.inferers.stitching.MapStitcher`.
        device: where the maps lie.
        on_batch: called with the number of windows of each batch that is done.

    Returns:
        A map (K, H', W') of each output.
    """
    everywhere = photo.unfold(1, grid.roi_size[0], 1).unfold(2, grid.roi_size[1], 1)  # a view: windows at every pixel
    places = run.nonzero()
    rows, columns = places.unbind(1)
    tops = torch.tensor(grid.tops)[rows].to(photo.device)
    lefts = torch.tensor(grid.lefts)[columns].to(photo.device)
    stitchers: dict[Hashable, MapStitcher] = {}
    weights: dict[Hashable, torch.Tensor] = {}

    def run_batch(batch: slice) -> dict[Hashable, Callable[[], torch.Tensor]]:
        outputs = forward(everywhere[:, tops[batch], lefts[batch]].transpose(0, 1))
        for key, output in outputs.items():
            if key not in stitchers:
                weights[key] = _resized(importance, output)
                stitchers[key] = _stitcher(output, photo, grid, weights[key], background, device)
        return {key: start_copy(output * weights[key].to(output.device), device) for key, output in outputs.items()}

    def stitch(batch: slice, arriving: dict[Hashable, Callable[[], torch.Tensor]]) -> None:
        for key, wait in arriving.items():
            stitchers[key].add(wait(), rows[batch], columns[batch])
        on_batch(len(rows[batch]))

    # one batch behind, so that a GPU computes while the CPU stitches
    previous = None
    for start in range(0, len(places), batch_size):
        batch = slice(start, start + batch_size)
        arriving = run_batch(batch)
        if previous:
            stitch(*previous)
        previous = (batch, arriving)
    if previous:
        stitch(*previous)
    else:  # nothing in the foreground: one window tells what the network gives
        for key, output in forward(everywhere[:, :1, 0].transpose(0, 1)).items():
            stitchers[key] = _stitcher(output, photo, grid, _resized(importance, output), background, device)
    return {key: stitcher.mean() for key, stitcher in stitchers.items()}


def _resized(importance: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """The weights at an output's resolution, on its device."""
    importance = importance.to(output.device)
    if output.shape[2:] == importance.shape:
        return importance
    return F.interpolate(importance[None, None], output.shape[2:], mode="nearest-exact")[0, 0]


def _stitcher(
    output: torch.Tensor,
    photo: torch.Tensor,
    grid: WindowGrid,
    importance: torch.Tensor,
    background: float | Sequence[float],
    device: torch.device,
) -> MapStitcher:
    size = [side * new // old for side, new, old in zip(photo.shape[1:], output.shape[2:], grid.roi_size, strict=True)]
    scaled = grid.scaled((output.shape[2], output.shape[3]))
    return MapStitcher(output.shape[1], size, scaled, importance, background, device)
