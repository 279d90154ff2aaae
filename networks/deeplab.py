"""DeepLabv3+ on ResNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks.aspp import AtrousSpatialPyramidPooling, convolution
from tinylesions.networks.blocks import initialise
from tinylesions.networks.dilated_resnet import RESNET_WIDTHS, DilatedResNet

__all__ = ["DeepLabV3Plus"]

_RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""Dilations of the pyramid for each output stride, DeepLabv3, section 4.1."""


class DeepLabV3Plus(nn.Module):
    """DeepLabv3+ (Chen et al., 2018, "Encoder-decoder with atrous separable convolution", figure 2).

    A dilated ResNet, atrous spatial pyramid pooling, and a decoder: the pyramid's features are enlarged to a quarter
    of the image, concatenated with those of ResNet's first stage, which a 1×1 convolution makes few, and convolved
    twice. Convolutions are plain, as the paper has them with ResNet (section 4.1); the separable ones go with its
    Xception. Enlargement is bilinear with `align_corners=False`, which moves features by the same part of a pixel
    everywhere, so that the decoder can learn it. Weights start at random.

    Height and width may be any. In train mode a batch norm needs more than one value a channel: one image of the
    output stride's size alone is too small.

    Args:
        in_channels: channels of the input.
        out_channels: number of outputs K.
        backbone: MONAI's name of a ResNet, see `DilatedResNet`.
        output_stride: 16, or 8 for deep features twice as dense, at three times the operations.
        widths: channels of ResNet's stages, see `DilatedResNet`.
        aspp_channels: channels of the pyramid's branches and of the decoder.
        low_level_channels: channels left of ResNet's first stage.
        dropout: behind the pyramid, 0.1 as in the authors' program.

    Raises:
        ValueError: when there is no such backbone or output stride, or `widths` does not name four stages.

    Example:
        >>> network = DeepLabV3Plus(backbone="resnet10", widths=(4, 8, 16, 32), aspp_channels=8)
        >>> network(torch.rand(2, 1, 50, 70)).shape
        torch.Size([2, 1, 50, 70])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        backbone: str = "resnet101",
        output_stride: int = 16,
        widths: Sequence[int] = RESNET_WIDTHS,
        aspp_channels: int = 256,
        low_level_channels: int = 48,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = DilatedResNet(backbone, in_channels, widths, output_stride)
        self.aspp = AtrousSpatialPyramidPooling(
            self.encoder.out_channels, aspp_channels, _RATES[output_stride], dropout
        )
        self.low_level = convolution(self.encoder.low_level_channels, low_level_channels, kernel_size=1)
        self.decoder = nn.Sequential(
            convolution(aspp_channels + low_level_channels, aspp_channels, kernel_size=3),
            convolution(aspp_channels, aspp_channels, kernel_size=3),
        )
        self.head = nn.Conv2d(aspp_channels, out_channels, kernel_size=1)
        initialise(self.low_level, self.decoder, self.head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K, H, W) for float images `x` (N, in_channels, H, W)."""
        low_level, deep = self.encoder(x)
        low_level = self.low_level(low_level)
        deep = _enlarged(self.aspp(deep), low_level)
        return _enlarged(self.head(self.decoder(torch.cat([low_level, deep], dim=1))), x)


def _enlarged(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features, size=like.shape[2:], mode="bilinear", align_corners=False)
