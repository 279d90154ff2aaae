from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tinylesions.inferers import winograd
from tinylesions.inferers.network_preparation import prepare_network
from tinylesions.inferers.winograd import WinogradConvolution, use_winograd
from tinylesions.networks import VGG16UNetPlusPlus

BATCH, SIDE = 12, 8
"""What is just large enough not to be convolved directly."""


def convolution(into: int = 8, out: int = 6, bias: bool = True, **kwargs) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(into, out, **{"kernel_size": 3, "padding": 1, **kwargs}, bias=bias)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def error(layer: nn.Module, x: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square, as a share of the expected."""
    return float((layer(x).double() - expected).square().mean().sqrt() / expected.square().mean().sqrt())


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(winograd, "FEWEST_PIXELS", 0)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 2), (4, 4), (5, 7), (7, 16), (8, 1), (16, 12), (33, 9)])
@torch.no_grad()
def test_any_size(always, shape, bias):
    layer = convolution(bias=bias)
    for batch in (1, 3):
        x = noise(batch, 8, *shape)
        torch.testing.assert_close(WinogradConvolution(layer)(x), layer(x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_double_precision_is_exact(always):
    layer, x = convolution().double(), noise(2, 8, 13, 11).double()
    torch.testing.assert_close(WinogradConvolution(layer)(x), layer(x), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_either_side_of_the_fewest_pixels():
    layer = convolution()
    both = WinogradConvolution(layer)
    few, enough = noise(BATCH - 1, 8, SIDE, SIDE), noise(BATCH, 8, SIDE, SIDE)
    assert both(few).equal(layer(few))
    assert not both(enough).equal(layer(enough))
    torch.testing.assert_close(both(enough), layer(enough), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("height", [16, 18], ids=["whole tiles", "part of a tile"])
@torch.no_grad()
def test_bfloat16(always, height):
    layer = convolution(64, 32).bfloat16()
    x = noise(2, 64, height, 16).relu().bfloat16()
    expected = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)
    fast = WinogradConvolution(layer)
    assert fast(x).dtype == torch.bfloat16
    assert error(fast, x, expected) < 6 * error(layer, x, expected) < 0.02


@torch.no_grad()
def test_outputs_are_channels_last_and_inputs_stay(always):
    layer = WinogradConvolution(convolution())
    for height in (8, 9):
        for x in (noise(2, 8, height, 5), noise(2, 8, height, 5).contiguous(memory_format=torch.channels_last)):
            before = x.clone()
            assert layer(x).is_contiguous(memory_format=torch.channels_last)
            assert x.equal(before)


@torch.no_grad()
def test_autocast_takes_either_dtype(always):
    fast = WinogradConvolution(convolution().bfloat16())
    x = noise(2, 8, 8, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast(x.float()).dtype == fast(x).dtype == torch.bfloat16


OTHERS = {
    "kernel": {"kernel_size": 1, "padding": 0},
    "stride": {"stride": 2},
    "padding": {"padding": 0},
    "padding by name": {"padding": "same"},
    "dilation": {"dilation": 2},
    "groups": {"groups": 2},
    "reflected": {"padding_mode": "reflect"},
}


class Doubled(nn.Conv2d):
    """A convolution that does more."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("kwargs", OTHERS.values(), ids=OTHERS)
def test_other_convolutions_are_refused_and_left(kwargs):
    layer = convolution(128, 64, **kwargs)
    with pytest.raises(ValueError, match="plain 3×3"):
        WinogradConvolution(layer)
    network = nn.Sequential(layer)
    assert use_winograd(network) == 0
    assert network[0] is layer


def test_what_is_left_alone():
    hooked = convolution(128, 64)
    hooked.register_forward_hook(lambda module, given, output: output.relu())
    parametrised = nn.utils.parametrizations.weight_norm(convolution(128, 64))
    narrow, widening = convolution(64, 64), convolution(128, 256)
    layers = [hooked, parametrised, narrow, widening, Doubled(128, 64, 3, padding=1)]
    network = nn.Sequential(*layers)
    assert use_winograd(network) == 0
    assert list(network) == layers


@torch.no_grad()
def test_shared_layers_are_replaced_in_each_place_and_once():
    shared = convolution(128, 128)
    network = nn.Sequential(shared, nn.ReLU(), shared, nn.Sequential(shared))
    x = noise(BATCH, 128, SIDE, SIDE)
    expected = network(x)
    assert use_winograd(network) == 3
    assert use_winograd(network) == 0
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_whole_network(always, monkeypatch):
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", (8, 4))
    torch.manual_seed(0)
    network = VGG16UNetPlusPlus(widths=(4, 8, 16, 16, 16)).eval()
    x = torch.rand(3, 3, 32, 48)
    expected = network(x)
    fast = copy.deepcopy(network)
    assert use_winograd(fast) > 20
    torch.testing.assert_close(fast(x), expected, rtol=1e-4, atol=1e-4)

    direct = prepare_network(network, torch.device("cpu"), torch.bfloat16, x[:1])
    fast = copy.deepcopy(direct)
    use_winograd(fast)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounding = (direct(x) - expected).abs().max()
        assert (fast(x) - expected).abs().max() < 6 * rounding
        assert rounding < 0.05 * expected.abs().max()
