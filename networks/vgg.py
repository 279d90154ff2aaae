"""VGG16's thirteen convolutions, the encoder of every network here that the papers build on VGG16."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn

from tinylesions.networks.blocks import initialise
from tinylesions.networks.vgg_weights import load_vgg16_weights

__all__ = ["VGG16", "VGG16_CONVOLUTIONS", "VGG16_WIDTHS"]

VGG16_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""How many 3×3 convolutions each of VGG16's five groups holds."""

VGG16_WIDTHS = (64, 128, 256, 512, 512)
"""How many channels each of VGG16's five groups has."""


class VGG16(nn.Module):
    """The five convolution groups of VGG16 (Simonyan and Zisserman, 2015, configuration D), as an encoder.

    `features` numbers its layers as torchvision's `vgg16` (`batch_norm=False`) and `vgg16_bn` (`batch_norm=True`) do,
    so that their weights load by name. The pool after the last group is left out: nothing reads it.

    Args:
        in_channels: channels of the input, 3 for RGB.
        batch_norm: put a batch norm between each convolution and its ReLU.
        widths: channels of each group; fewer than five widths build only the first groups.
        pretrained: `None` for He initialisation, `"imagenet"` to download torchvision's weights, or a path to them.
            They expect RGB in [0, 1] normalised by ImageNet's mean and standard deviation.

    Raises:
        ValueError: when `widths` is empty or longer than five.
        InputError: when the weights' file does not fit.
        OSError: when the download fails.

    Example:
        >>> groups = VGG16(widths=(4, 8, 8, 16, 16))(torch.rand(1, 3, 64, 64))
        >>> [tuple(group.shape[1:]) for group in groups]
        [(4, 64, 64), (8, 32, 32), (8, 16, 16), (16, 8, 8), (16, 4, 4)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        batch_norm: bool = True,
        widths: Sequence[int] = VGG16_WIDTHS,
        pretrained: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= len(widths) <= len(VGG16_CONVOLUTIONS):
            raise ValueError(f"VGG16 has one to five groups, but widths names {len(widths)}: {tuple(widths)}.")
        self.in_channels = in_channels
        self.batch_norm = batch_norm
        self.widths = tuple(widths)

        layers: list[nn.Module] = []
        ends = []
        channels = in_channels
        for width, convolutions in zip(self.widths, VGG16_CONVOLUTIONS, strict=False):
            if layers:
                layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            for _ in range(convolutions):
                layers.append(nn.Conv2d(channels, width, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                channels = width
            ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        self.group_ends = ends

        initialise(self)
        if pretrained is not None:
            load_vgg16_weights(self, pretrained)

    def forward(self, x: torch.Tensor, groups: int = 5) -> list[torch.Tensor]:
        """Return the output of each group before its pool, shallow to deep.

        Args:
            x: float images (N, in_channels, H, W).
            groups: compute only the first so many groups.

        Returns:
            One (N, widths[i], H / 2^i, W / 2^i) tensor for each group i.
        """
        outputs: list[torch.Tensor] = []
        for index, layer in enumerate(self.features):
            if len(outputs) < groups:
                x = layer(x)
                if index in self.group_ends:
                    outputs.append(x)
        return outputs
