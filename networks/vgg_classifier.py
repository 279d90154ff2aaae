"""VGG16 that grades a photo by the mean of its deepest features."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn

from tinylesions.networks.blocks import check_divisible
from tinylesions.networks.vgg import VGG16, VGG16_WIDTHS

__all__ = ["VGG16Classifier"]


class VGG16Classifier(nn.Module):
    """VGG16's convolutions, global average pooling and one fully connected layer.

    The grading network alone of the grading and segmentation paper (003), section 3.1.2, first row of table 7.

    Args:
        in_channels: channels of the input.
        num_classes: number of classes K.
        widths: channels of VGG16's groups.
        batch_norm: as in `VGG16`.
        pretrained: ImageNet weights, as in `VGG16`.

    Raises:
        ValueError: in `forward`, when the height or width is not a multiple of 2 to the power of the number of pools.

    Example:
        >>> VGG16Classifier(widths=(4, 8, 8, 16, 16))(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 5,
        widths: Sequence[int] = VGG16_WIDTHS,
        batch_norm: bool = True,
        pretrained: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.divisor = 2 ** (len(widths) - 1)
        self.encoder = VGG16(in_channels, batch_norm, widths, pretrained)
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K) for float images `x` (N, in_channels, H, W)."""
        check_divisible(x, self.divisor)
        return self.head(self.encoder(x)[-1].mean((2, 3)))
