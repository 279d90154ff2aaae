"""UNet 3+ against a literal one: which level reads which, and what becomes of it on the way."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks import UNet3Plus

from .tester import WIDTHS, NetworkTester, image
from .unet_reference import Weights, block, convolved, make, pooled

READS = {
    "decoder_3": ("encoder_0", "encoder_1", "encoder_2", "encoder_3", "encoder_4"),
    "decoder_2": ("encoder_0", "encoder_1", "encoder_2", "decoder_3", "encoder_4"),
    "decoder_1": ("encoder_0", "encoder_1", "decoder_2", "decoder_3", "encoder_4"),
    "decoder_0": ("encoder_0", "decoder_1", "decoder_2", "decoder_3", "encoder_4"),
}
"""Figure 1 of Huang et al., 2020: decoder level → what it concatenates."""

HEADS = {
    "side_heads.0": "encoder_4",
    "side_heads.1": "decoder_3",
    "side_heads.2": "decoder_2",
    "side_heads.3": "decoder_1",
    "head": "decoder_0",
}


class TestUNet3Plus(NetworkTester):
    train_shape = (2, 5, 7, 32, 48)
    eval_shape = (2, 7, 32, 48)

    def make(self) -> nn.Module:
        return UNet3Plus(3, 7, WIDTHS)


class TestUNet3PlusOfOneHead(NetworkTester):
    """Three levels, and another width between them."""

    train_shape = eval_shape = (2, 1, 32, 48)
    divisor = 4

    def make(self) -> nn.Module:
        return UNet3Plus(3, 1, WIDTHS[:3], deep_supervision=False, cat_channels=5)


def enlarging_matrix(side: int, times: int) -> torch.Tensor:
    """Weights (times * side, side) of linear interpolation between the pixels' centres, the outermost held."""
    matrix = torch.zeros(times * side, side, dtype=torch.float64)
    for row in range(times * side):
        place = min(max((row + 0.5) / times - 0.5, 0), side - 1)
        left = min(int(place), max(side - 2, 0))
        right = min(left + 1, side - 1)
        matrix[row, right] = place - left
        matrix[row, left] += 1 - (place - left)
    return matrix


def enlarged(x: torch.Tensor, times: int) -> torch.Tensor:
    vertical, horizontal = (enlarging_matrix(side, times) for side in x.shape[2:])
    return torch.einsum("yh,nchw,xw->ncyx", vertical, x, horizontal)


def literal_levels(weights: Weights, x: torch.Tensor, training: bool) -> dict[str, torch.Tensor]:
    levels = {}
    for level in range(5):
        x = block(weights, f"encoder.{level}", pooled(x) if level else x, training)
        levels[f"encoder_{level}"] = x
    for index, (name, sources) in enumerate(READS.items()):
        parts = []
        for branch, source in enumerate(sources):
            part = levels[source]
            halvings = int(name[-1]) - int(source[-1])
            for _ in range(halvings):
                part = pooled(part)
            if halvings < 0:
                part = enlarged(part, 2**-halvings)
            parts.append(convolved(weights, f"decoder.{index}.branches.{branch}", part, training).clamp(min=0))
        levels[name] = convolved(weights, f"decoder.{index}.merge", torch.cat(parts, 1), training).clamp(min=0)
    return levels


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cat_channels", [None, 3])
@pytest.mark.parametrize("size", [(32, 48), (16, 80)], ids=["32x48", "a last level one pixel high"])
def test_every_head_against_the_literal_network(cat_channels, training, size):
    network = make(UNet3Plus, out_channels=2, cat_channels=cat_channels).train(training)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    x = image(*size).double()
    levels = literal_levels(weights, x, training)
    heads = [
        enlarged(
            functional.conv2d(levels[level], weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1),
            size[0] // levels[level].shape[2],
        )
        for name, level in HEADS.items()
    ]
    torch.testing.assert_close(network(x), torch.stack(heads, 1) if training else heads[-1])


def test_without_deep_supervision_it_is_the_last_head():
    network = make(UNet3Plus, out_channels=2)
    alone = UNet3Plus(3, 2, WIDTHS, deep_supervision=False).double()
    alone.load_state_dict({name: x for name, x in network.state_dict().items() if "side_heads" not in name})
    torch.testing.assert_close(alone(image().double()), network(image().double())[:, -1])


def test_parameters_of_the_published_network():
    """26.97 million with one class, as Huang et al. print it, table 1; from the authors' layers in their order."""
    with torch.device("meta"):
        networks = [UNet3Plus(deep_supervision=False), UNet3Plus(3, 7, deep_supervision=False), UNet3Plus(3, 7)]
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]

    def layer(before: int, after: int) -> int:
        return 9 * before * after + after + 2 * after  # convolution with bias, batch norm

    encoder = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 1024)]
    encoder += [(1024, 1024)]
    decoder = [(wide, 64) for wide in (64, 128, 256, 512, 1024)]
    decoder += [(wide, 64) for wide in (64, 128, 256, 320, 1024)]
    decoder += [(wide, 64) for wide in (64, 128, 320, 320, 1024)]
    decoder += [(wide, 64) for wide in (64, 320, 320, 320, 1024)]
    decoder += [(320, 320)] * 4
    shared = sum(layer(*channels) for channels in encoder + decoder)
    heads = [shared + 9 * 320 + 1, shared + 9 * 320 * 7 + 7, shared + 9 * (4 * 320 + 1024) * 7 + 5 * 7]
    assert counts == heads == [26_971_777, 26_989_063, 27_114_083]


def test_two_levels():
    network = UNet3Plus(3, 3, (4, 8))
    assert network(image(6, 10)).shape == (2, 2, 3, 6, 10)
    assert network.eval()(image(6, 10)).shape == (2, 3, 6, 10)


@torch.no_grad()
def test_copies_memory_formats_and_bfloat16():
    network = make(UNet3Plus, out_channels=2).float().eval()
    expected = network(image())
    twin = deepcopy(network).to(memory_format=torch.channels_last)
    out = twin(image().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(image())
    assert out.dtype == torch.bfloat16
    assert float((out.float() - expected).square().mean().sqrt() / expected.std()) < 0.2


def test_a_network_that_has_trained_is_copied():
    network = make(UNet3Plus).float()
    network(image()).sum().backward()
    torch.testing.assert_close(deepcopy(network)(image()), network(image()))


@torch.no_grad()
def test_convolutions_start_with_hes_spread_and_no_bias():
    torch.manual_seed(0)
    for layer in UNet3Plus(widths=(16, 32, 64)).modules():
        if isinstance(layer, nn.Conv2d):
            assert not layer.bias.any()
            if layer.weight.numel() > 1000:
                assert float(layer.weight.std()) == pytest.approx((2 / layer.weight[0].numel()) ** 0.5, rel=0.1)


@pytest.mark.parametrize("widths", [(4,), ()])
def test_one_level_is_no_u_net(widths):
    with pytest.raises(ValueError, match=f"two levels or more, but widths names {len(widths)}"):
        UNet3Plus(widths=widths)
