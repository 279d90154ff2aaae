"""U-Net or UNet++ on an EfficientNet-Lite0 encoder: small, fast on a CPU, with an ImageNet start."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import torch
from torch import nn

from tinylesions.networks.efficientnet_lite import EFFICIENTNET_LITE_WIDTHS, EfficientNetLiteEncoder
from tinylesions.networks.unet_blocks import BilinearUpSample, ConvolutionBlock

__all__ = ["EfficientNetUNet"]


class EfficientNetUNet(nn.Module):
    """U-Net whose levels are the features of EfficientNet-Lite0 at strides 2 to 32; UNet++ where it is nested.

    Node X(i, j) of level i and column j convolves all earlier nodes of its level and X(i+1, j-1) below, enlarged
    bilinearly (UNet++, Zhou et al., 2018). A plain U-Net has one node at each level, X(i, 4-i). No node works at full
    size: the head at stride 2 predicts four logits for each output, which are the four pixels of a 2×2 square
    (sub-pixel convolution, Shi et al., 2016).

    Args:
        in_channels: channels of the input, 3 for RGB.
        out_channels: number of outputs K.
        widths: channels of the decoder's levels at strides 2, 4, 8 and 16.
        nested: UNet++, with the nodes between encoder and decoder; half as much work again for the same widths.
        pretrained: of the encoder: ``None``, ``"imagenet"`` or a file's path; see `EfficientNetLiteEncoder`.
        prior: probability that an untrained network gives a pixel; low, as lesions are rare (Lin et al., 2017).

    Raises:
        InputError: when the weights' file is missing or does not fit.
        ValueError: when `widths` does not name four levels or `prior` is not between 0 and 1; in `forward`, when the
            height or width is not a multiple of 32.

    Example:
        >>> network = EfficientNetUNet(widths=(4, 8, 8, 16))
        >>> network(torch.rand(2, 3, 64, 32)).shape
        torch.Size([2, 4, 64, 32])
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 4,
        widths: Sequence[int] = (24, 32, 48, 96),
        nested: bool = False,
        pretrained: str | os.PathLike[str] | None = None,
        prior: float = 0.02,
    ) -> None:
        super().__init__()
        depth = len(EFFICIENTNET_LITE_WIDTHS) - 1
        if len(widths) != depth:
            raise ValueError(f"The decoder has {depth} levels, but widths names {len(widths)}: {tuple(widths)}.")
        if not 0 < prior < 1:
            raise ValueError(f"prior is a probability between 0 and 1, not {prior}.")
        self.encoder = EfficientNetLiteEncoder(in_channels, pretrained=pretrained)
        self.up = BilinearUpSample(align_corners=False)
        # column by column, so that every node finds the nodes it reads already computed
        places = [(level, column) for column in range(1, depth + 1) for level in range(depth + 1 - column)]
        if not nested:
            places = [(level, column) for level, column in places if level + column == depth]
        decoder = [*widths, 0]
        self.nodes = nn.ModuleDict()
        for level, column in places:
            skips = EFFICIENTNET_LITE_WIDTHS[level] + (column - 1) * decoder[level] * nested
            below = EFFICIENTNET_LITE_WIDTHS[level + 1] if column == 1 else decoder[level + 1]
            self.nodes[f"x_{level}_{column}"] = ConvolutionBlock(skips + below, decoder[level])
        self.levels = [level for level, _ in places]
        self.head = nn.Conv2d(widths[0], 4 * out_channels, kernel_size=1)
        nn.init.constant_(self.head.bias, math.log(prior / (1 - prior)))  # type: ignore[arg-type]
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K, H, W) for float images `x` (N, in_channels, H, W)."""
        levels = [[features] for features in self.encoder(x)]
        for index, node in enumerate(self.nodes.values()):
            level = self.levels[index]
            below = self.up(levels[level + 1][-1])
            levels[level].append(node(torch.cat(levels[level] + [below], dim=1)))
        return self.shuffle(self.head(levels[0][-1]))
