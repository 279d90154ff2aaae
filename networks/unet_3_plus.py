"""UNet 3+: every decoder level reads every other level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from torch import nn
from torch.nn import functional

from tinylesions.networks.blocks import initialise
from tinylesions.networks.unet_blocks import UNetEncoder

__all__ = ["UNET_3_PLUS_WIDTHS", "UNet3Plus"]

UNET_3_PLUS_WIDTHS = (64, 128, 256, 512, 1024)
"""Channels of the five levels of the published UNet 3+."""


class UNet3Plus(nn.Module):
    """UNet 3+ (Huang et al., 2020, "A full-scale connected UNet for medical image segmentation", figure 1).

    Decoder level i reads the encoder's levels down to its own, max-pooled to its size, and all decoder levels below
    it, enlarged bilinearly; the deepest of these is the encoder's last level. Each goes through a convolution of its
    own to `cat_channels`, all of them together through one more. Enlargement has `align_corners=False`, as in the
    authors' program; that of the other plain U-Nets here is corner to corner. Class imbalance paper (004), section 2.

    With deep supervision each decoder level and the encoder's last one have a head. In train mode it then returns all
    of them, enlarged to the image's size and stacked as MONAI's DynUNet does: (N, levels, K, H, W), the deepest first
    and the full-resolution one last. In eval mode it returns the last alone, and computes no other.

    Args:
        in_channels: channels of the input.
        out_channels: number of outputs K.
        widths: channels of the encoder's levels, shallow to deep; two or more.
        deep_supervision: whether all levels have a head.
        cat_channels: channels that each level gives to another; the first of `widths` by default.

    Raises:
        ValueError: when `widths` names fewer than two levels; in `forward`, when the height or width is not a multiple
            of 2 to the power of the number of pools (16 for five levels).

    Example:
        >>> network = UNet3Plus(out_channels=7, widths=(4, 8, 16))
        >>> network(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 3, 7, 32, 32])
        >>> network.eval()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 7, 32, 32])
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        widths: Sequence[int] = UNET_3_PLUS_WIDTHS,
        deep_supervision: bool = True,
        cat_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder = UNetEncoder(in_channels, widths, channel_attention=False)
        narrow = cat_channels or widths[0]
        deepest = len(widths) - 1
        wide = len(widths) * narrow  # of every decoder level, since each reads as many levels as there are
        self.decoder = nn.ModuleList(
            FullScaleLevel(level, [*widths[: level + 1], *[wide] * (deepest - level - 1), widths[deepest]], narrow)
            for level in reversed(range(deepest))
        )
        self.side_heads = nn.ModuleList()
        if deep_supervision:
            self.side_heads.extend(_head(channels, out_channels) for channels in [widths[-1], *[wide] * (deepest - 1)])
        self.head = _head(wide, out_channels)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K, H, W) for float images `x` (N, in_channels, H, W), or (N, levels, K, H, W)."""
        levels = self.encoder(x)
        below = levels[-1:]  # what the decoder has so far, deepest last
        for index, node in enumerate(self.decoder):
            own = len(levels) - 1 - index
            below = [node(levels[:own] + below)] + below  # noqa: RUF005  TorchScript cannot unpack a list
        logits: list[torch.Tensor] = []
        if self.training:
            for index, head in enumerate(self.side_heads):
                level = len(levels) - 1 - index
                logits.append(_enlarged(head(below[level]), level))
        logits.append(self.head(below[0]))
        return torch.stack(logits, dim=1) if len(logits) > 1 else logits[0]


class FullScaleLevel(nn.Module):
    """One level of the decoder: bring all levels to its size, convolve each, then all together.

    Args:
        level: its place in the U-Net, 0 for the image's size.
        channels: channels of each level that it reads, shallow to deep.
        cat_channels: channels that each of them becomes.
    """

    def __init__(self, level: int, channels: Sequence[int], cat_channels: int) -> None:
        super().__init__()
        self.level = level
        self.branches = nn.ModuleList(_convolution(wide, cat_channels) for wide in channels)
        self.merge = _convolution(len(channels) * cat_channels, len(channels) * cat_channels)

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Return (N, len(levels) * cat_channels, H, W) of `levels`, shallow to deep, each half the size of the last."""
        parts: list[torch.Tensor] = []
        for source, branch in enumerate(self.branches):
            x = levels[source]
            if source < self.level:
                x = functional.max_pool2d(x, 1 << (self.level - source))
            elif source > self.level:
                x = _enlarged(x, source - self.level)
            parts.append(branch(x))
        return self.merge(torch.cat(parts, dim=1))


def _convolution(in_channels: int, out_channels: int) -> nn.Module:
    return Convolution(2, in_channels, out_channels, adn_ordering="NA", act=("relu", {"inplace": True}), norm="batch")


def _head(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)


def _enlarged(x: torch.Tensor, doublings: int) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=float(1 << doublings), mode="bilinear", align_corners=False)
