"""The plain UNet++: nested, densely connected skips, one output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tinylesions.networks.blocks import initialise
from tinylesions.networks.unet_blocks import UNET_WIDTHS, BilinearUpSample, ConvolutionBlock, UNetEncoder

__all__ = ["UNetPlusPlus"]


class UNetPlusPlus(nn.Module):
    """UNet++ (Zhou et al., 2018) as the UW-OCTA paper (002) has it, section 3.2.2, table 2.

    Node X(i, j) of level i and column j convolves all earlier nodes of its level and X(i+1, j-1) below, enlarged
    bilinearly. MONAI's ``BasicUNetPlusPlus`` has transposed convolutions, other widths and four outputs;
    `VGG16UNetPlusPlus` has VGG16's encoder.

    Args:
        in_channels: channels of the input.
        out_channels: number of outputs K.
        widths: channels of the levels, shallow to deep; two or more.
        channel_attention: weigh the channels in every block ("Unet++ with Attention Layer", section 5.1).

    Raises:
        ValueError: when `widths` names fewer than two levels; in `forward`, when the height or width is not a multiple
            of 2 to the power of the number of pools (16 for five levels).

    Example:
        >>> network = UNetPlusPlus(widths=(4, 8, 16), channel_attention=True)
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
        depth = len(widths) - 1
        self.encoder = UNetEncoder(in_channels, widths, channel_attention)
        self.up = BilinearUpSample()
        # column by column, so that every node finds the nodes it reads already computed
        self.places = [(level, column) for column in range(1, depth + 1) for level in range(depth + 1 - column)]
        self.nodes = nn.ModuleDict(
            {
                f"x_{level}_{column}": ConvolutionBlock(
                    column * widths[level] + widths[level + 1], widths[level], channel_attention
                )
                for level, column in self.places
            }
        )
        self.head = nn.Conv2d(widths[0], out_channels, kernel_size=1)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K, H, W) for float images `x` (N, in_channels, H, W)."""
        levels = [[features] for features in self.encoder(x)]
        for index, node in enumerate(self.nodes.values()):
            level, column = self.places[index]
            below = self.up(levels[level + 1][column - 1])
            levels[level].append(node(torch.cat(levels[level] + [below], dim=1)))
        return self.head(levels[0][-1])
