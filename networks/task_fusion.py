"""The two places where the segmentation and the grading of one network learn from each other."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from tinylesions.networks.attention import attention_block

__all__ = ["DeepFusion", "ShallowFusion"]

_SHRINKING = (16, 32, 64, 128)
"""Channels of the segmentation on its way down to the grading features."""


class DeepFusion(nn.Module):
    """Exchange the deep features of two branches through attention.

    Grading and segmentation paper (003), section 3.2.1, figure 3: both are concatenated, a 1×1 convolution halves the
    channels, attention follows, and a 1×1 convolution to each branch's space with a sigmoid weighs the branch's own
    features, to which they are added.

    Args:
        segmentation_channels: of the segmentation's features.
        grading_channels: of the grading's.
        attention: see :func:`~tinylesions.networks.attention.attention_block`.
    """

    def __init__(self, segmentation_channels: int, grading_channels: int, attention: str) -> None:
        super().__init__()
        both = segmentation_channels + grading_channels
        self.reduce = nn.Conv2d(both, both // 2, kernel_size=1)
        self.attention = attention_block(attention, both // 2)
        self.to_segmentation = nn.Conv2d(both // 2, segmentation_channels, kernel_size=1)
        self.to_grading = nn.Conv2d(both // 2, grading_channels, kernel_size=1)

    def forward(self, segmentation: torch.Tensor, grading: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both features, each of its own shape, (N, C, H, W) of one height and width."""
        fused = self.attention(self.reduce(torch.cat([segmentation, grading], dim=1)))
        return (
            segmentation + segmentation * torch.sigmoid(self.to_segmentation(fused)),
            grading + grading * torch.sigmoid(self.to_grading(fused)),
        )


class ShallowFusion(nn.Module):
    """Show the grading where the lesions are, at a sixteenth of the photo's height and width.

    Grading and segmentation paper (003), section 3.2.2, figure 7: convolutions of stride 2 bring the segmentation to
    the size of the grading features, both are concatenated, a 3×3 convolution and attention follow, and a 1×1
    convolution, here without a sigmoid, weighs the grading features, to which they are added.

    Args:
        classes: of the segmentation.
        channels: of the grading features.
        attention: see :func:`~tinylesions.networks.attention.attention_block`.
    """

    def __init__(self, classes: int, channels: int, attention: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide, out in pairwise((classes, *_SHRINKING)):
            layers += [nn.Conv2d(wide, out, kernel_size=3, stride=2, padding=1), nn.ReLU(inplace=True)]
        self.shrink = nn.Sequential(*layers)
        self.mix = nn.Conv2d(_SHRINKING[-1] + channels, channels, kernel_size=3, padding=1)
        self.attention = attention_block(attention, channels)
        self.to_grading = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, segmentation: torch.Tensor, grading: torch.Tensor) -> torch.Tensor:
        """Return grading features (N, channels, H, W).

        Args:
            segmentation: probabilities (N, classes, 16·H, 16·W).
            grading: features (N, channels, H, W).
        """
        mixed = self.mix(torch.cat([self.shrink(segmentation), grading], dim=1))
        return grading + grading * self.to_grading(self.attention(mixed))
