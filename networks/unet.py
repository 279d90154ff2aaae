"""The plain U-Net: double convolutions, bilinear enlargement, one output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from tinylesions.networks.blocks import initialise
from tinylesions.networks.unet_blocks import UNET_WIDTHS, BilinearUpSample, ConvolutionBlock, UNetEncoder

__all__ = ["UNet"]


class UNet(nn.Module):
    """U-Net with the blocks and widths of the nested one, as the UW-OCTA paper (002) has it, table 2.

    MONAI's ``UNet`` is residual, its ``BasicUNet`` convolves before it concatenates.

    Args:
        in_channels: channels of the input.
        out_channels: number of outputs K.
        widths: channels of the levels, shallow to deep; two or more.
        channel_attention: weigh the channels in every block (section 5.1).

    Raises:
        ValueError: when `widths` names fewer than two levels; in `forward`, when the height or width is not a multiple
            of 2 to the power of the number of pools (16 for five levels).

    Example:
        >>> network = UNet(widths=(4, 8, 16))
        >>> network(torch.rand(2, 1, 32, 32)).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        widths: Sequence[int] = UNET_WIDTHS,
        channel_attention: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = UNetEncoder(in_channels, widths, channel_attention)
        self.up = BilinearUpSample()
        self.decoder = nn.ModuleList(
            ConvolutionBlock(width + below, width, channel_attention)
            for below, width in pairwise(reversed(list(widths)))
        )
        self.head = nn.Conv2d(widths[0], out_channels, kernel_size=1)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K, H, W) for float images `x` (N, in_channels, H, W)."""
        levels = self.encoder(x)
        x = levels.pop()
        for block in self.decoder:
            x = block(torch.cat([levels.pop(), self.up(x)], dim=1))
        return self.head(x)
