"""Photos, networks and a slow, literal sliding window that the tests of the inferers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import SlidingWindowInferer
from torch import nn


def disc(height: int, width: int, row: float = 0.5, column: float = 0.5, radius: float = 0.35) -> torch.Tensor:
    """(H, W) bool; the centre and the radius are shares of the sides."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return ((rows / height - row) ** 2 + (columns / width - column) ** 2).sqrt() < radius


def photo(height: int = 61, width: int = 83, channels: int = 3, **place: float) -> torch.Tensor:
    """(1, C, H, W) noise in a disc, 0 around it."""
    noise = torch.rand(channels, height, width, generator=torch.Generator().manual_seed(height)) + 0.1
    return (noise * disc(height, width, **place))[None]


def lit(photos: torch.Tensor) -> torch.Tensor:
    """(N, H, W) bool, where the photos are not 0."""
    return (photos != 0).any(1)


def small_network(channels: int = 2) -> nn.Sequential:
    """Convolutions whose zero padding makes a pixel's value depend on where in the window it lies."""
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(5)
    for values, low, high in ((norm.running_mean, -1, 1), (norm.running_var, 0.5, 2), (norm.weight, 0.5, 2)):
        nn.init.uniform_(values, low, high)
    layers = (nn.Conv2d(3, 5, 5, padding=2), norm, nn.ReLU(), nn.Conv2d(5, channels, 3, padding=1))
    return nn.Sequential(*layers).eval()


def monai_map(photos: torch.Tensor, network: Callable, roi_size: Sequence[int] | int, **options):
    with torch.no_grad():
        return SlidingWindowInferer(roi_size, 4, **options)(photos, network)


def literal_map(
    photo: torch.Tensor,
    network: Callable[[torch.Tensor], torch.Tensor],
    foreground: torch.Tensor,
    roi_size: tuple[int, int],
    overlap: float,
    mode: str = "constant",
    background: float = 0,
) -> tuple[torch.Tensor, int]:
    """The map (1, K, H, W) of a photo (1, C, H, W), window after window, and how many windows ran."""
    size = tuple(photo.shape[2:])
    steps = [max(1, int(roi * (1 - overlap))) for roi in roi_size]
    importance = compute_importance_map(roi_size, mode=mode)
    total, weight, windows = 0, torch.zeros(size), 0
    for place in dense_patch_slices(size, roi_size, steps):
        if foreground[place].any():
            with torch.no_grad():
                output = network(photo[(..., *place)])[0]
            layer = torch.zeros(len(output), *size)
            layer[(..., *place)] = output * importance
            total = total + layer
            weight[place] += importance
            windows += 1
    return torch.where(weight > 0, total / weight, torch.tensor(float(background)))[None], windows
