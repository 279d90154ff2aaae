"""The plain U-Net: double convolutions, bilinear enlargement, one output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from tinylesions.networks.blocks import check_divisible, initialise
from tinylesions.networks.unet_blocks import UNET_WIDTHS, BilinearUpSample, ConvolutionBlock

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
        if len(widths) < 2:
            raise ValueError(f"A U-Net has two levels or more, but widths names {len(widths)}: {tuple(widths)}.")
        self.divisor = 2 ** (len(widths) - 1)
        self.encoder = nn.ModuleList(
            ConvolutionBlock(above, width, channel_attention) for above, width in pairwise([in_channels, *widths])
        )
        self.pool = nn.MaxPool2d(2)
        self.up = BilinearUpSample()
        self.decoder = nn.ModuleList(
            ConvolutionBlock(width + below, width, channel_attention)
            for below, width in pairwise(reversed(list(widths)))
        )
        self.head = nn.Conv2d(widths[0], out_channels, kernel_size=1)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K, H, W) for float images `x` (N, in_channels, H, W)."""
        check_divisible(x, self.divisor)
        levels: list[torch.Tensor] = []
        for index, block in enumerate(self.encoder):
            x = block(x if index == 0 else self.pool(x))
            levels.append(x)
        x = levels.pop()
        for block in self.decoder:
            x = block(torch.cat([levels.pop(), self.up(x)], dim=1))
        return self.head(x)
