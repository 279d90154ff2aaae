"""Attention that weighs feature maps by channel, by place, or by what other places hold."""

from __future__ import annotations

import torch
from monai.networks.blocks import ChannelSELayer
from torch import nn
from torch.nn import functional

__all__ = ["ATTENTIONS", "CBAM", "ChannelAttention", "SelfAttention", "SpatialAttention", "attention_block"]

REDUCTION = 16
"""Of the bottlenecks between channels; Woo et al. and Hu et al. have the same."""


class ChannelAttention(nn.Module):
    """Weigh each channel by its mean and its largest value (Woo et al., 2018, CBAM, equation 2).

    Both go through one bottleneck of two layers, their sum through a sigmoid. MONAI's ``ChannelSELayer`` has the mean
    only.

    Args:
        channels: of the features.
        reduction: the bottleneck has so many times fewer channels, at least one.

    Example:
        >>> ChannelAttention(32)(torch.rand(2, 32, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(self, channels: int, reduction: int = REDUCTION) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.bottleneck = nn.Sequential(
            nn.Conv2d(channels, narrow, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, channels, kernel_size=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the weighed features, (N, C, H, W) as `x`."""
        mean, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return x * torch.sigmoid(self.bottleneck(mean) + self.bottleneck(largest))


class SpatialAttention(nn.Module):
    """Weigh each place by the mean and the largest value of its channels (Woo et al., 2018, CBAM, equation 3).

    Args:
        kernel_size: of the convolution over both, odd.

    Example:
        >>> SpatialAttention()(torch.rand(2, 32, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the weighed features, (N, C, H, W) as `x`."""
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.convolution(summary))


class CBAM(nn.Module):
    """Channel attention, then spatial attention, added to the input.

    Grading and segmentation paper (003), section 3.2.1, figures 4 to 6; Woo et al., 2018, section 3, figure 3 where it
    is the block of a residual network.

    Args:
        channels: of the features.
        reduction: see :class:`ChannelAttention`.
        kernel_size: see :class:`SpatialAttention`.
    """

    def __init__(self, channels: int, reduction: int = REDUCTION, kernel_size: int = 7) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, reduction)
        self.spatial = SpatialAttention(kernel_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features, (N, C, H, W) as `x`."""
        return x + self.spatial(self.channel(x))


class SelfAttention(nn.Module):
    """Add to each place the features of all places, by how well its query meets their keys.

    Scaled dot products of one head (Vaswani et al., 2017, equation 1) over the H·W places; queries and keys have an
    eighth of the channels. Memory grows with (H·W)² where torch has no fused kernel.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // 8)
        self.query = nn.Conv2d(channels, narrow, kernel_size=1)
        self.key = nn.Conv2d(channels, narrow, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features, (N, C, H, W) as `x`."""
        attended = functional.scaled_dot_product_attention(
            self.query(x).flatten(2).transpose(1, 2),
            self.key(x).flatten(2).transpose(1, 2),
            self.value(x).flatten(2).transpose(1, 2),
        )
        return x + attended.transpose(1, 2).reshape(x.shape)


ATTENTIONS = ("spatial", "se", "self", "cbam")
"""The kinds that table 4 of the grading and segmentation paper (003) compares."""


def attention_block(name: str, channels: int) -> nn.Module:
    """Build attention by name: (N, channels, H, W) in and out.

    Args:
        name: one of ``ATTENTIONS``; ``"se"`` is MONAI's squeeze and excitation layer.
        channels: of the features.

    Raises:
        ValueError: there is none of that name.
    """
    if name == "spatial":
        return SpatialAttention()
    if name == "se":
        return ChannelSELayer(2, channels, r=min(REDUCTION, channels))
    if name == "self":
        return SelfAttention(channels)
    if name == "cbam":
        return CBAM(channels)
    raise ValueError(f"attention is one of {', '.join(ATTENTIONS)}, not {name!r}.")
