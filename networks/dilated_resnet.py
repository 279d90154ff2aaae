"""ResNet whose last stages are dilated instead of strided, the encoder of DeepLabv3+."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.resnet import ResNet, resnet_params
from torch import nn

__all__ = ["RESNET_WIDTHS", "DilatedResNet"]

RESNET_WIDTHS = (64, 128, 256, 512)
"""Channels of the 3×3 convolutions of ResNet's four stages; a bottleneck gives four times as many."""


class DilatedResNet(ResNet):
    """MONAI's ResNet for images, without its classifier, that keeps its deep features large (Chen et al., 2017).

    A stage whose stride is dropped dilates the convolutions behind the place of the stride. At every second position
    such a stage gives exactly what the strided one gives with the same weights (DeepLabv3, section 3.1), so weights of
    the plain ResNet load and fit. There is no multi-grid.

    Args:
        backbone: `"resnet10"`, `"resnet18"`, … `"resnet200"`: MONAI's names. Shortcuts that change the shape are a 1×1
            convolution without bias and a batch norm in all of them, as in He et al., 2016.
        in_channels: channels of the input.
        widths: channels of the four stages' 3×3 convolutions.
        output_stride: of the deepest features: 16 dilates the last stage by 2, 8 the last two by 2 and 4.

    Raises:
        ValueError: when there is no such backbone or output stride, or `widths` does not name four stages.

    Example:
        >>> encoder = DilatedResNet("resnet50", in_channels=1, widths=(4, 8, 16, 32))
        >>> [tuple(features.shape) for features in encoder(torch.rand(1, 1, 64, 64))]
        [(1, 16, 16, 16), (1, 128, 4, 4)]
    """

    def __init__(
        self,
        backbone: str = "resnet101",
        in_channels: int = 3,
        widths: Sequence[int] = RESNET_WIDTHS,
        output_stride: int = 16,
    ) -> None:
        if backbone not in resnet_params:
            raise ValueError(f"backbone is one of {', '.join(resnet_params)}, not {backbone!r}.")
        if output_stride not in (8, 16):
            raise ValueError(f"output_stride is 8 or 16, not {output_stride!r}.")
        if len(widths) != len(RESNET_WIDTHS):
            raise ValueError(f"A ResNet has {len(RESNET_WIDTHS)} stages, but widths names {len(widths)}.")
        block, layers = resnet_params[backbone][:2]
        super().__init__(
            block,
            layers,
            list(widths),
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            shortcut_type="B",  # "A" passes no gradient on
            feed_forward=False,
            bias_downsample=False,
        )
        self.out_channels = self.in_planes
        self.low_level_channels = widths[0] * self.out_channels // widths[3]

        stages = [self.layer4] if output_stride == 16 else [self.layer3, self.layer4]
        for index, stage in enumerate(stages):
            _dilate(stage, before=2**index)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """Return the features of the first stage and of the last one.

        Args:
            x: float images (N, in_channels, H, W).

        Returns:
            Features (N, low_level_channels, H / 4, W / 4) and (N, out_channels, H / output_stride, W / output_stride),
            heights and widths rounded up.
        """
        low_level = self.layer1(self.maxpool(self.act(self.bn1(self.conv1(x)))))
        return low_level, self.layer4(self.layer3(self.layer2(low_level)))


def _dilate(stage: nn.Module, before: int) -> None:
    """Drop a stage's stride of 2 and double the dilation `before` it, behind the convolution that had the stride."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            dilation = 2 * before if module.stride == (1, 1) else before
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.dilation = module.padding = (dilation, dilation)
