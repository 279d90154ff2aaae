"""The plain UNet++ against a literal one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks import UNet, UNetPlusPlus

from .tester import WIDTHS, NetworkTester, image
from .unet_reference import NESTED, Weights, block, block_parameters, enlarged, make, open_bottlenecks, pooled


class TestUNetPlusPlus(NetworkTester):
    train_shape = eval_shape = (2, 1, 32, 48)

    def make(self) -> nn.Module:
        return UNetPlusPlus(3, widths=WIDTHS)


class TestUNetPlusPlusWithAttention(NetworkTester):
    """Three levels."""

    train_shape = eval_shape = (2, 2, 32, 48)
    divisor = 4

    def make(self) -> nn.Module:
        return open_bottlenecks(UNetPlusPlus(3, 2, WIDTHS[:3], channel_attention=True))


def literal_nodes(weights: Weights, x: torch.Tensor, training: bool) -> dict[str, torch.Tensor]:
    nodes = {}
    for level in range(5):
        x = block(weights, f"encoder.{level}", pooled(x) if level else x, training)
        nodes[f"x_{level}_0"] = x
    for name, (*skips, below) in NESTED.items():
        both = torch.cat([*(nodes[skip] for skip in skips), enlarged(nodes[below])], dim=1)
        nodes[name] = block(weights, f"nodes.{name}", both, training)
    return nodes


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("channel_attention", [False, True])
@pytest.mark.parametrize("size", [(32, 48), (16, 80)], ids=["32x48", "a last level one pixel high"])
def test_nodes_and_output_against_the_literal_network(channel_attention, training, size):
    network = make(UNetPlusPlus, out_channels=2, channel_attention=channel_attention).train(training)
    found = {}
    for name, node in network.nodes.items():
        node.register_forward_hook(lambda module, arguments, out, name=name: found.update({name: out}))
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    x = image(*size).double()
    out = network(x)
    expected = literal_nodes(weights, x, training)
    assert found.keys() == NESTED.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], msg=lambda text, name=name: f"{name}: {text}")
    head = functional.conv2d(expected["x_0_4"], weights["head.weight"], weights["head.bias"])
    torch.testing.assert_close(out, head)


def test_two_levels_are_a_u_net():
    nested = make(UNetPlusPlus, widths=(4, 8), channel_attention=True).eval()
    plain = UNet(3, widths=(4, 8), channel_attention=True).double().eval()
    plain.load_state_dict({name.replace("nodes.x_0_1", "decoder.0"): x for name, x in nested.state_dict().items()})
    torch.testing.assert_close(nested(image().double()), plain(image().double()))


def test_parameters_of_the_papers_network():
    """The published nested U-Net of one output has 9,163,329."""
    with torch.device("meta"):
        networks = [UNetPlusPlus(3), UNetPlusPlus(3, channel_attention=True), UNetPlusPlus()]
    widths = (32, 64, 128, 256, 512)
    convolutions = [(3, 32), (32, 64), (64, 128), (128, 256), (256, 512)]
    for name, (*skips, below) in NESTED.items():
        width = widths[int(name[2])]
        convolutions.append((len(skips) * width + widths[int(below[2])], width))
    expected = sum(block_parameters(before, after) for before, after in convolutions) + 32 + 1
    weighed = sum(block_parameters(before, after, bottleneck=after // 16) for before, after in convolutions) + 32 + 1
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [expected, weighed, expected - 2 * 9 * 32]
    assert expected == 9_163_329
