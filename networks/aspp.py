"""Atrous spatial pyramid pooling: one feature map read at several scales at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from monai.networks.blocks import Convolution
from torch import nn

from tinylesions.networks.blocks import initialise

__all__ = ["AtrousSpatialPyramidPooling", "convolution"]

convolution = partial(
    Convolution, 2, adn_ordering="NAD", act=("relu", {"inplace": True}), norm="batch", dropout=None, bias=False
)
"""A convolution of MONAI with batch norm, ReLU and, where `dropout` is given, dropout."""


class AtrousSpatialPyramidPooling(nn.Module):
    """A 1×1 convolution, dilated 3×3 ones and the image's mean, side by side.

    Chen et al., 2017, "Rethinking atrous convolution for semantic image segmentation" (DeepLabv3), section 3.3.
    MONAI's ``SimpleASPP`` has no image pooling and no batch norm in its branches. The image pooling here has a bias
    and no batch norm: its map is one value for each image and channel, of which a batch of one image has no variance.

    Args:
        in_channels: channels of the input.
        out_channels: channels of each branch and of the result.
        rates: dilation of each 3×3 convolution.
        dropout: share of the result's values that training sets to zero.

    Example:
        >>> AtrousSpatialPyramidPooling(32, 8)(torch.rand(2, 32, 16, 16)).shape
        torch.Size([2, 8, 16, 16])
    """

    def __init__(
        self, in_channels: int, out_channels: int = 256, rates: Sequence[int] = (6, 12, 18), dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                convolution(in_channels, out_channels, kernel_size=1),
                *(convolution(in_channels, out_channels, kernel_size=3, dilation=rate) for rate in rates),
            ]
        )
        self.image_pooling = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_channels, out_channels, kernel_size=1), nn.ReLU(inplace=True)
        )
        branches = len(self.branches) + 1
        self.projection = convolution(branches * out_channels, out_channels, kernel_size=1, dropout=dropout)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features (N, out_channels, H, W) of `x` (N, in_channels, H, W)."""
        features = [branch(x) for branch in self.branches]
        features.append(self.image_pooling(x).expand(-1, -1, x.shape[2], x.shape[3]))
        return self.projection(torch.cat(features, dim=1))
