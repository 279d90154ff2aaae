"""The parts that the VGG16 U-Nets share: decoder block, initialisation and the check of the input's size."""

from __future__ import annotations

from itertools import chain, pairwise

import torch
from monai.networks.blocks import Convolution, UpSample
from torch import nn

__all__ = ["DecoderBlock", "check_divisible", "initialise"]


class DecoderBlock(nn.Module):
    """Up-sample the level below, concatenate it to this level's features, convolve.

    Up-sampling is a transposed convolution of kernel 2, stride 2 and padding 0 (multi-task UNet++ paper (001),
    section 1.4, equations 2-4: the kernel is a multiple of the stride, so no checkerboard), whose output has this
    level's width; then come convolutions of 3×3, each with batch norm and ReLU (section 1.6).

    Args:
        skip_channels: channels of all the features of this level together.
        below_channels: channels of the level below.
        out_channels: this level's width.
        convolutions: how many 3×3 convolutions follow.
    """

    def __init__(self, skip_channels: int, below_channels: int, out_channels: int, convolutions: int) -> None:
        super().__init__()
        self.up = UpSample(2, below_channels, out_channels, scale_factor=2, mode="deconv")
        channels = [skip_channels + out_channels, *[out_channels] * convolutions]
        self.convolutions = nn.Sequential(
            *(
                Convolution(2, wide, out, adn_ordering="NA", act=("relu", {"inplace": True}), norm="batch")
                for wide, out in pairwise(channels)
            )
        )

    def forward(self, skips: list[torch.Tensor], below: torch.Tensor) -> torch.Tensor:
        """Return (N, out_channels, H, W) from `skips`, each (N, C, H, W), and `below` (N, below_channels, H/2, W/2)."""
        return self.convolutions(torch.cat(skips + [self.up(below)], dim=1))  # noqa: RUF005  TorchScript cannot unpack a list


def initialise(*parts: nn.Module) -> None:
    """Give every convolution He's normal initialisation (He et al., 2015), biases zero, in place.

    A transposed convolution of kernel 2 and stride 2 is followed by no ReLU, and each of its outputs sums one product
    for every input channel: its variance is 1 / in_channels.
    """
    for module in chain.from_iterable(part.modules() for part in parts):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=module.in_channels**-0.5)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_divisible(x: torch.Tensor, divisor: int) -> None:
    """Raise ValueError unless the height and width of `x` (N, C, H, W) are multiples of `divisor`."""
    height, width = x.shape[2], x.shape[3]
    if height % divisor != 0 or width % divisor != 0:
        raise ValueError(
            f"The input is {height} × {width} (height × width), but the pools of this network need multiples of "
            f"{divisor}: pad it, or cut windows of such a size."
        )
