"""The plain U-Net on VGG16 that UNet++ is compared with."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn

from tinylesions.networks.blocks import DecoderBlock, check_divisible, initialise
from tinylesions.networks.vgg import VGG16, VGG16_CONVOLUTIONS, VGG16_WIDTHS

__all__ = ["VGG16UNet"]


class VGG16UNet(nn.Module):
    """U-Net with VGG16 as encoder, its mirror as decoder and transposed convolutions.

    The U-Net "with the same improvements" of the multi-task UNet++ paper (001), tables 4 and 5: `VGG16UNetPlusPlus`
    without the nodes in between, with one output.

    Args:
        in_channels: channels of the input.
        out_channels: number of classes K.
        widths: channels of the levels, shallow to deep: two to five, five for VGG16 whole.
        batch_norm: batch norm in the encoder; the decoder always has it.
        pretrained: ImageNet weights of the encoder, as in `VGG16`.

    Raises:
        ValueError: when `widths` names fewer than two or more than five levels; in `forward`, when the height or width
            is not a multiple of 2 to the power of the number of pools (16 for five levels).

    Example:
        >>> network = VGG16UNet(out_channels=6, widths=(4, 8, 8, 16, 16))
        >>> network(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 6, 32, 32])
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 6,
        widths: Sequence[int] = VGG16_WIDTHS,
        batch_norm: bool = True,
        pretrained: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"A U-Net has two levels or more, but widths names {len(widths)}: {tuple(widths)}.")
        self.divisor = 2 ** (len(widths) - 1)
        self.encoder = VGG16(in_channels, batch_norm, widths, pretrained)
        self.decoder = nn.ModuleList(
            DecoderBlock(widths[level], widths[level + 1], widths[level], VGG16_CONVOLUTIONS[level])
            for level in reversed(range(len(widths) - 1))
        )
        self.head = nn.Conv2d(widths[0], out_channels, kernel_size=1)
        initialise(self.decoder, self.head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K, H, W) for float images `x` (N, in_channels, H, W)."""
        check_divisible(x, self.divisor)
        groups = self.encoder(x)
        x = groups.pop()
        for block in self.decoder:
            x = block([groups.pop()], x)
        return self.head(x)
