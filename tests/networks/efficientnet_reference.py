"""EfficientNet-Lite0 from the table of its paper and a file's weights, step by step."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

Weights = dict[str, torch.Tensor]

BLOCKS = [
    # kernel, stride, expansion, channels before and after
    (3, 1, 1, 32, 16),
    (3, 2, 6, 16, 24),
    (3, 1, 6, 24, 24),
    (5, 2, 6, 24, 40),
    (5, 1, 6, 40, 40),
    (3, 2, 6, 40, 80),
    (3, 1, 6, 80, 80),
    (3, 1, 6, 80, 80),
    (5, 1, 6, 80, 112),
    (5, 1, 6, 112, 112),
    (5, 1, 6, 112, 112),
    (5, 2, 6, 112, 192),
    (5, 1, 6, 192, 192),
    (5, 1, 6, 192, 192),
    (5, 1, 6, 192, 192),
    (3, 1, 6, 192, 320),
]
"""Tan and Le, 2019, table 1, stages 2 to 8."""

READ_BEFORE = (1, 3, 5, 11, 16)
"""Blocks of stride 2, and the end: the features before them."""


def published_weights(in_channels: int = 3) -> Weights:
    """A file's content: every entry of EfficientNet-Lite0 with its classifier, random."""
    generator = torch.Generator().manual_seed(0)
    weights: Weights = {}

    def convolution(name: str, out: int, channels: int, kernel: int) -> None:
        fan_in = channels * kernel**2
        weight = torch.randn(out, channels, kernel, kernel, generator=generator)
        weights[f"{name}.weight"] = weight * (2 / fan_in) ** 0.5

    def norm(name: str, width: int) -> None:
        for entry, low, high in (("weight", 0.5, 2), ("bias", -0.5, 0.5), ("running_mean", -0.5, 0.5)):
            weights[f"{name}.{entry}"] = torch.empty(width).uniform_(low, high, generator=generator)
        weights[f"{name}.running_var"] = torch.empty(width).uniform_(0.5, 2, generator=generator)
        weights[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("_conv_stem", 32, in_channels, 3)
    norm("_bn0", 32)
    for index, (kernel, _, expansion, before, after) in enumerate(BLOCKS):
        wide = before * expansion
        if expansion > 1:
            convolution(f"_blocks.{index}._expand_conv", wide, before, 1)
            norm(f"_blocks.{index}._bn0", wide)
        convolution(f"_blocks.{index}._depthwise_conv", wide, 1, kernel)
        norm(f"_blocks.{index}._bn1", wide)
        convolution(f"_blocks.{index}._project_conv", after, wide, 1)
        norm(f"_blocks.{index}._bn2", after)
    convolution("_conv_head", 1280, 320, 1)
    norm("_bn1", 1280)
    weights["_fc.weight"], weights["_fc.bias"] = torch.zeros(1000, 1280), torch.zeros(1000)
    return weights


def padded(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """TensorFlow's "same": as many outputs as strides begin, the odd pixel of padding right and below."""
    height, width = (max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
    return functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


def normalised(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, variance, scale, shift = (
        weights[f"{name}.{entry}"].to(x)[:, None, None] for entry in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-3).sqrt() * scale + shift


def literal_features(weights: Weights, x: torch.Tensor) -> list[torch.Tensor]:
    """The features of `x` at strides 2, 4, 8, 16 and 32, in eval mode."""
    x = functional.conv2d(padded(x, 3, 2), weights["_conv_stem.weight"].to(x), stride=2)
    x = normalised(weights, "_bn0", x).clamp(0, 6)
    features = []
    for index, (kernel, stride, expansion, before, after) in enumerate(BLOCKS):
        if index in READ_BEFORE:
            features.append(x)
        name, skip = f"_blocks.{index}", x
        if expansion > 1:
            x = functional.conv2d(x, weights[f"{name}._expand_conv.weight"].to(x))
            x = normalised(weights, f"{name}._bn0", x).clamp(0, 6)
        depthwise = weights[f"{name}._depthwise_conv.weight"].to(x)
        x = functional.conv2d(padded(x, kernel, stride), depthwise, stride=stride, groups=len(depthwise))
        x = normalised(weights, f"{name}._bn1", x).clamp(0, 6)
        x = functional.conv2d(x, weights[f"{name}._project_conv.weight"].to(x))
        x = normalised(weights, f"{name}._bn2", x)
        if stride == 1 and before == after:
            x = x + skip
    return [*features, x]
