"""The encoder against a literal one and Google's parameter count, and its depthwise convolutions in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks import EfficientNetLiteEncoder
from tinylesions.networks.efficientnet_lite import DepthwiseConvolution

from .efficientnet_reference import literal_features, published_weights
from .tester import image

CLASSIFIER = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
"""The head's convolution and batch norm, and the thousand classes: what the encoder leaves out."""


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_of_the_published_network():
    """Google's EfficientNet-Lite0 has 4,652,008."""
    assert parameters(EfficientNetLiteEncoder()) + CLASSIFIER == 4_652_008
    assert parameters(EfficientNetLiteEncoder(1)) + CLASSIFIER == 4_652_008 - 2 * 32 * 9


@pytest.mark.parametrize("size", [(64, 96), (32, 32)])
def test_features_against_the_literal_network(tmp_path, size):
    weights = published_weights()
    torch.save(weights, tmp_path / "lite0.pth")
    encoder = EfficientNetLiteEncoder(pretrained=tmp_path / "lite0.pth").double().eval()
    x = image(*size).double()
    found, expected = encoder(x), literal_features(weights, x)
    height, width = size
    shapes = [(2, c, height // s, width // s) for c, s in ((16, 2), (24, 4), (40, 8), (112, 16), (320, 32))]
    assert [tuple(features.shape) for features in found] == shapes
    for index in range(5):
        torch.testing.assert_close(found[index], expected[index], msg=lambda text, index=index: f"{index}: {text}")


def test_features_are_left_as_they_are():
    """The ReLU6 work in place, and a decoder reads the features again."""
    encoder = EfficientNetLiteEncoder().eval()
    seen = []
    for stage in encoder._blocks:
        stage.register_forward_hook(lambda module, arguments, out: seen.append(out.clone()))
    x = image(32, 32)
    before = x.clone()
    features = encoder(x)
    assert torch.equal(x, before)
    for feature, stage in zip(features, (0, 1, 2, 4, 6), strict=True):
        assert torch.equal(feature, seen[stage])


def test_blocks_are_skipped_in_training_only():
    torch.manual_seed(0)
    encoder = EfficientNetLiteEncoder(drop_connect_rate=0.9)
    x = image(64, 64)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert not torch.equal(encoder(x)[-1], encoder(x)[-1])
    encoder.eval()
    assert torch.equal(encoder(x)[-1], encoder(x)[-1])


def test_an_indivisible_size_is_named():
    with pytest.raises(ValueError, match=r"48 × 64 .*multiples of 32"):
        EfficientNetLiteEncoder()(image(48, 64))


@pytest.fixture
def depthwise() -> DepthwiseConvolution:
    torch.manual_seed(0)
    return DepthwiseConvolution(6, 6, 5, stride=2, groups=6, bias=False)


def test_depthwise_convolution_trains_in_float32_under_autocast(depthwise):
    x = image(20, 21, 6).bfloat16().requires_grad_()
    weight = torch.randn(2, 6, 8, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = depthwise(x)
        compiled = torch.compile(depthwise, backend="eager", fullgraph=True)(x)
    (out.float() * weight).sum().backward()
    exact = functional.conv2d(x.detach().float(), depthwise.weight, stride=2, groups=6)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, exact.bfloat16())
    assert torch.equal(out, compiled)
    (expected,) = torch.autograd.grad(
        functional.conv2d(x.detach().float(), depthwise.weight, stride=2, groups=6),
        depthwise.weight,
        weight.bfloat16().float(),
    )
    torch.testing.assert_close(depthwise.weight.grad, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.equal(depthwise.eval()(x), out)  # rounds the weight as well


def test_depthwise_convolution_is_a_plain_one_otherwise(depthwise):
    plain = nn.Conv2d(6, 6, 5, stride=2, groups=6, bias=False)
    plain.load_state_dict(depthwise.state_dict())
    x = image(20, 21, 6)
    for module in (depthwise.train(), depthwise.eval(), torch.jit.script(depthwise)):
        assert torch.equal(module(x), plain(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(depthwise.eval()(x), plain(x))
