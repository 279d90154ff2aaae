"""What the plain U-Nets share: the block of two convolutions, the encoder, the enlargement."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import ChannelSELayer, Convolution
from torch import nn
from torch.nn import functional

from tinylesions.networks.attention import REDUCTION
from tinylesions.networks.blocks import check_divisible

__all__ = ["UNET_WIDTHS", "BilinearUpSample", "ConvolutionBlock", "UNetEncoder"]

UNET_WIDTHS = (32, 64, 128, 256, 512)
"""Channels of the five levels of the nested U-Net that the UW-OCTA paper (002) takes over."""


class ConvolutionBlock(nn.Module):
    """Two convolutions of 3×3, each with batch norm and ReLU; then channel attention.

    The attention is the UW-OCTA paper's (002, section 5.1): mean of each channel, a bottleneck of two layers, sigmoid,
    scale. That is squeeze and excitation, MONAI's ``ChannelSELayer``. It stands behind the last ReLU, not before it: to
    scale before or behind is the same, but right behind a batch norm whose batch is one image the mean of a channel is
    the norm's bias whatever the image, and there would be nothing to attend to.

    Args:
        in_channels: channels of the input.
        out_channels: channels of both convolutions.
        channel_attention: whether the channels are weighed.
    """

    def __init__(self, in_channels: int, out_channels: int, channel_attention: bool = False) -> None:
        super().__init__()
        relu = ("relu", {"inplace": True})
        self.first = Convolution(2, in_channels, out_channels, adn_ordering="NA", act=relu, norm="batch")
        self.second = Convolution(2, out_channels, out_channels, adn_ordering="N", norm="batch")
        narrower = min(REDUCTION, out_channels)  # narrow networks keep one channel
        self.attention = ChannelSELayer(2, out_channels, r=narrower) if channel_attention else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features (N, out_channels, H, W) of `x` (N, in_channels, H, W)."""
        return self.attention(self.relu(self.second(self.first(x))))


class UNetEncoder(nn.Sequential):
    """Blocks with a pool of two between them: the features of every level.

    Args:
        in_channels: channels of the input.
        widths: channels of the levels, shallow to deep; two or more.
        channel_attention: weigh the channels in every block.

    Raises:
        ValueError: when `widths` names fewer than two levels; in `forward`, when the height or width is not a multiple
            of 2 to the power of the number of pools.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], channel_attention: bool) -> None:
        if len(widths) < 2:
            raise ValueError(f"A U-Net has two levels or more, but widths names {len(widths)}: {tuple(widths)}.")
        super().__init__(
            *(ConvolutionBlock(above, width, channel_attention) for above, width in pairwise([in_channels, *widths]))
        )
        self.divisor = 2 ** (len(widths) - 1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the levels' features of `x` (N, in_channels, H, W), shallow to deep, each half as high and wide."""
        check_divisible(x, self.divisor)
        levels: list[torch.Tensor] = []
        for block in self:
            x = block(functional.max_pool2d(x, 2) if levels else x)
            levels.append(x)
        return levels


class BilinearUpSample(nn.Module):
    """Enlarge by two, bilinearly; corner to corner, as the nested U-Net does, or pixel area to pixel area.

    What is enlarged is concatenated next, which hands the gradient back as a slice of a wider tensor. torch transposes
    such a slice before and after the backward pass; put in order first, that takes a fifteenth of the time.

    Args:
        align_corners: keep the corners' pixels where they are.
    """

    def __init__(self, align_corners: bool = True) -> None:
        super().__init__()
        self.align_corners = align_corners

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, C, 2H, 2W) of `x` (N, C, H, W)."""
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=self.align_corners)
        if not torch.jit.is_scripting() and x.requires_grad:
            x.register_hook(torch.clone)  # a clone of a slice is dense
        return x
