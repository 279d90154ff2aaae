"""The plain U-Net against a literal one, and what both plain U-Nets must do."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks import UNet, UNetPlusPlus

from .tester import WIDTHS, NetworkTester, image
from .unet_reference import Weights, block, block_parameters, enlarged, make, open_bottlenecks, pooled

both = pytest.mark.parametrize("kind", [UNet, UNetPlusPlus])


class TestUNet(NetworkTester):
    train_shape = eval_shape = (2, 1, 32, 48)

    def make(self) -> nn.Module:
        return UNet(3, widths=WIDTHS)


class TestUNetWithAttention(NetworkTester):
    """Three levels."""

    train_shape = eval_shape = (2, 2, 32, 48)
    divisor = 4

    def make(self) -> nn.Module:
        return open_bottlenecks(UNet(3, 2, WIDTHS[:3], channel_attention=True))


def literal_unet(weights: Weights, x: torch.Tensor, training: bool) -> torch.Tensor:
    skip_0 = block(weights, "encoder.0", x, training)
    skip_1 = block(weights, "encoder.1", pooled(skip_0), training)
    skip_2 = block(weights, "encoder.2", pooled(skip_1), training)
    skip_3 = block(weights, "encoder.3", pooled(skip_2), training)
    x = block(weights, "encoder.4", pooled(skip_3), training)
    x = block(weights, "decoder.0", torch.cat([skip_3, enlarged(x)], 1), training)
    x = block(weights, "decoder.1", torch.cat([skip_2, enlarged(x)], 1), training)
    x = block(weights, "decoder.2", torch.cat([skip_1, enlarged(x)], 1), training)
    x = block(weights, "decoder.3", torch.cat([skip_0, enlarged(x)], 1), training)
    return functional.conv2d(x, weights["head.weight"], weights["head.bias"])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("channel_attention", [False, True])
@pytest.mark.parametrize("size", [(32, 48), (16, 80)], ids=["32x48", "a last level one pixel high"])
def test_output_against_the_literal_network(channel_attention, training, size):
    network = make(UNet, out_channels=2, channel_attention=channel_attention).train(training)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    x = image(*size).double()
    torch.testing.assert_close(network(x), literal_unet(weights, x, training))


@both
@pytest.mark.parametrize(
    "turn",
    [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2), lambda x: x.rot90(1, (-2, -1))],
    ids=["mirrored", "upside down", "transposed", "rotated"],
)
def test_turned_kernels_turn_the_output(turn, kind):
    network = make(kind, channel_attention=True).eval()
    turned = deepcopy(network)
    for layer in turned.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = turn(layer.weight.data)
    x = image().double()
    torch.testing.assert_close(turned(turn(x)), turn(network(x)))
    assert not torch.allclose(network(turn(x)), turn(network(x)))


def test_parameters_of_the_papers_network():
    with torch.device("meta"):
        networks = [UNet(3), UNet(3, channel_attention=True), UNet()]
    convolutions = [(3, 32), (32, 64), (64, 128), (128, 256), (256, 512)]
    convolutions += [(512 + 256, 256), (256 + 128, 128), (128 + 64, 64), (64 + 32, 32)]
    expected = sum(block_parameters(before, after) for before, after in convolutions) + 32 + 1
    weighed = sum(block_parameters(before, after, bottleneck=after // 16) for before, after in convolutions) + 32 + 1
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [expected, weighed, expected - 2 * 9 * 32]


@both
@torch.no_grad()
@pytest.mark.parametrize("channel_attention", [False, True])
def test_copies_memory_formats_and_bfloat16(channel_attention, kind):
    network = make(kind, channel_attention=channel_attention).float().eval()
    expected = network(image())
    twin = deepcopy(network).to(memory_format=torch.channels_last)
    out = twin(image().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    for parameter in twin.parameters():
        parameter.zero_()
    assert torch.equal(network(image()), expected), "a copy has weights of its own"
    with torch.autocast("cpu", torch.bfloat16):
        out = network(image())
    assert out.dtype == torch.bfloat16
    assert float((out.float() - expected).square().mean().sqrt() / expected.std()) < 0.2


@both
def test_a_network_that_has_trained_is_copied(kind):
    network = make(kind).float()
    network(image()).sum().backward()
    torch.testing.assert_close(deepcopy(network)(image()), network(image()))


@both
@torch.no_grad()
def test_convolutions_start_with_hes_spread_and_no_bias(kind):
    torch.manual_seed(0)
    network = kind(widths=(16, 32, 64))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            inputs = layer.weight[0].numel()
            assert not layer.bias.any()
            if layer.weight.numel() > 1000:
                assert float(layer.weight.std()) == pytest.approx((2 / inputs) ** 0.5, rel=0.1)


@both
@pytest.mark.parametrize("widths", [(4,), ()])
def test_one_level_is_no_u_net(widths, kind):
    with pytest.raises(ValueError, match=f"two levels or more, but widths names {len(widths)}"):
        kind(widths=widths)
