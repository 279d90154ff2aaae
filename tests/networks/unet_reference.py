"""Small plain U-Nets, and their blocks from their weights, step by step."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

from .tester import WIDTHS, stir_batch_norms

Weights = dict[str, torch.Tensor]
Network = TypeVar("Network", bound=nn.Module)

NESTED = {
    "x_0_1": ("x_0_0", "x_1_0"),
    "x_1_1": ("x_1_0", "x_2_0"),
    "x_2_1": ("x_2_0", "x_3_0"),
    "x_3_1": ("x_3_0", "x_4_0"),
    "x_0_2": ("x_0_0", "x_0_1", "x_1_1"),
    "x_1_2": ("x_1_0", "x_1_1", "x_2_1"),
    "x_2_2": ("x_2_0", "x_2_1", "x_3_1"),
    "x_0_3": ("x_0_0", "x_0_1", "x_0_2", "x_1_2"),
    "x_1_3": ("x_1_0", "x_1_1", "x_1_2", "x_2_2"),
    "x_0_4": ("x_0_0", "x_0_1", "x_0_2", "x_0_3", "x_1_3"),
}
"""Figure 1 of Zhou et al., 2018: node → the nodes that it concatenates, the last one from below and enlarged."""


def open_bottlenecks(network: Network) -> Network:
    """A bottleneck of one channel may else lie dead behind its ReLU."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.ones_(layer.bias)
    return network


def make(network: type[Network], **options) -> Network:
    """Build a small network in float64, every batch norm and attention at work."""
    torch.manual_seed(0)
    built = network(**{"in_channels": 3, "widths": WIDTHS, **options})
    stir_batch_norms(built)
    return open_bottlenecks(built).double()


def enlarging_matrix(side: int) -> torch.Tensor:
    """Weights (2·side, side) of linear interpolation whose first and last samples stay where they are."""
    matrix = torch.zeros(2 * side, side, dtype=torch.float64)
    for row in range(2 * side):
        place = row * (side - 1) / (2 * side - 1)
        left = min(int(place), max(side - 2, 0))
        right = min(left + 1, side - 1)
        matrix[row, right] = place - left
        matrix[row, left] += 1 - (place - left)
    return matrix


def enlarged(x: torch.Tensor) -> torch.Tensor:
    """Twice the height and width, corner to corner; float64."""
    vertical, horizontal = (enlarging_matrix(side) for side in x.shape[2:])
    return torch.einsum("yh,nchw,xw->ncyx", vertical, x, horizontal)


def convolved(weights: Weights, name: str, x: torch.Tensor, training: bool = False) -> torch.Tensor:
    """3×3 convolution and batch norm, with the batch's statistics in training."""
    x = functional.conv2d(x, weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"], padding=1)
    if training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    else:
        mean, variance = weights[f"{name}.adn.N.running_mean"], weights[f"{name}.adn.N.running_var"]
    x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    return x * weights[f"{name}.adn.N.weight"][:, None, None] + weights[f"{name}.adn.N.bias"][:, None, None]


def block(weights: Weights, name: str, x: torch.Tensor, training: bool = False) -> torch.Tensor:
    """Two convolutions; where the block has weights of channel attention, it comes last."""
    x = convolved(weights, f"{name}.first", x, training).clamp(min=0)
    x = convolved(weights, f"{name}.second", x, training).clamp(min=0)
    if f"{name}.attention.fc.0.weight" in weights:
        narrow = functional.linear(
            x.mean((2, 3)), weights[f"{name}.attention.fc.0.weight"], weights[f"{name}.attention.fc.0.bias"]
        )
        wide = functional.linear(
            narrow.clamp(min=0), weights[f"{name}.attention.fc.2.weight"], weights[f"{name}.attention.fc.2.bias"]
        )
        x = x * (1 / (1 + (-wide).exp()))[:, :, None, None]
    return x


def pooled(x: torch.Tensor) -> torch.Tensor:
    """The largest of every 2×2 pixels."""
    return torch.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(0)


def block_parameters(in_channels: int, out_channels: int, bottleneck: int = 0) -> int:
    """Convolutions with bias, batch norms with scale and shift, two layers of attention where there is a bottleneck."""
    convolutions = 9 * in_channels * out_channels + out_channels + 9 * out_channels * out_channels + out_channels
    norms = 2 * 2 * out_channels
    attention = 2 * bottleneck * out_channels + bottleneck + out_channels if bottleneck else 0
    return convolutions + norms + attention
