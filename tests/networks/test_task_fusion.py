from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks import ATTENTIONS, DeepFusion, ShallowFusion


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))


def convolve(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_deep_fusion_against_literal_steps(attention):
    fusion = DeepFusion(16, 8, attention)
    segmentation, grading = features(16, 4, 6), features(8, 4, 6, seed=1)
    fused = fusion.attention(convolve(fusion.reduce, torch.cat([segmentation, grading], 1)))
    assert fused.shape[1] == 12
    first = torch.sigmoid(convolve(fusion.to_segmentation, fused)) * segmentation + segmentation
    second = torch.sigmoid(convolve(fusion.to_grading, fused)) * grading + grading
    torch.testing.assert_close(fusion(segmentation, grading), (first, second))


def test_each_branch_learns_from_the_other():
    fusion = DeepFusion(8, 8, "cbam")
    segmentation, grading = features(8, 4, 6).requires_grad_(), features(8, 4, 6, seed=1).requires_grad_()
    (of_segmentation,) = torch.autograd.grad(fusion(segmentation, grading)[1].sum(), segmentation)
    (of_grading,) = torch.autograd.grad(fusion(segmentation, grading)[0].sum(), grading)
    assert of_segmentation.any()
    assert of_grading.any()


@pytest.mark.parametrize("attention", ["spatial", "self"])
def test_shallow_fusion_against_literal_steps(attention):
    fusion = ShallowFusion(5, 8, attention)
    segmentation, grading = features(5, 32, 48).softmax(1), features(8, 2, 3, seed=1)
    x = segmentation
    for layer in list(fusion.shrink)[::2]:
        assert layer.stride == (2, 2)
        x = convolve(layer, x).clamp(min=0)
    assert x.shape[2:] == grading.shape[2:]
    mixed = convolve(fusion.mix, torch.cat([x, grading], 1))
    assert fusion.mix.kernel_size == (3, 3)
    expected = convolve(fusion.to_grading, fusion.attention(mixed)) * grading + grading
    torch.testing.assert_close(fusion(segmentation, grading), expected)
