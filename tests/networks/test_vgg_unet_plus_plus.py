from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks import VGG16UNetPlusPlus

from .tester import WIDTHS, NetworkTester, image, stir_batch_norms


class TestLastOutput(NetworkTester):
    train_shape, eval_shape = (2, 4, 6, 32, 48), (2, 6, 32, 48)

    def make(self):
        return VGG16UNetPlusPlus(widths=WIDTHS)


class TestAllOutputs(NetworkTester):
    train_shape, eval_shape = (2, 4, 3, 32, 48), (2, 12, 32, 48)

    def make(self):
        return VGG16UNetPlusPlus(out_channels=3, widths=WIDTHS, batch_norm=False, head="all")


class TestSecondOutput(NetworkTester):
    train_shape, eval_shape = (2, 4, 6, 32, 48), (2, 6, 32, 48)
    divisor = 4

    def make(self):
        return VGG16UNetPlusPlus(widths=WIDTHS, head=2)


class TestDepthTwo(NetworkTester):
    train_shape, eval_shape = (2, 2, 6, 32, 48), (2, 6, 32, 48)
    divisor = 4

    def make(self):
        return VGG16UNetPlusPlus(widths=WIDTHS, depth=2)


def make(**options) -> VGG16UNetPlusPlus:
    torch.manual_seed(2)
    return stir_batch_norms(VGG16UNetPlusPlus(widths=WIDTHS, **options)).eval()


def literal_outputs(weights: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    """UNet++ of figures 3 and 4 from its weights, node by node, in eval mode."""

    def convolve(x: torch.Tensor, convolution: str, norm: str) -> torch.Tensor:
        x = functional.conv2d(x, weights[f"{convolution}.weight"], weights[f"{convolution}.bias"], padding=1)
        mean, var = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        x = x * weights[f"{norm}.weight"][:, None, None] + weights[f"{norm}.bias"][:, None, None]
        return x.clamp_min(0)

    nodes = {}
    for level, group in enumerate([[0, 3], [7, 10], [14, 17, 20], [24, 27, 30], [34, 37, 40]]):
        x = functional.max_pool2d(x, 2) if level else x
        for index in group:
            x = convolve(x, f"encoder.features.{index}", f"encoder.features.{index + 1}")
        nodes[level, 0] = x

    reads = {
        (0, 1): [(0, 0), (1, 0)],
        (1, 1): [(1, 0), (2, 0)],
        (2, 1): [(2, 0), (3, 0)],
        (3, 1): [(3, 0), (4, 0)],
        (0, 2): [(0, 0), (0, 1), (1, 1)],
        (1, 2): [(1, 0), (1, 1), (2, 1)],
        (2, 2): [(2, 0), (2, 1), (3, 1)],
        (0, 3): [(0, 0), (0, 1), (0, 2), (1, 2)],
        (1, 3): [(1, 0), (1, 1), (1, 2), (2, 2)],
        (0, 4): [(0, 0), (0, 1), (0, 2), (0, 3), (1, 3)],
    }
    for (level, column), (*skips, below) in reads.items():
        name = f"nodes.x_{level}_{column}"
        up = functional.conv_transpose2d(
            nodes[below], weights[f"{name}.up.deconv.weight"], weights[f"{name}.up.deconv.bias"], stride=2
        )
        x = torch.cat([*(nodes[skip] for skip in skips), up], dim=1)
        for index in range([2, 2, 3, 3][level]):
            x = convolve(x, f"{name}.convolutions.{index}.conv", f"{name}.convolutions.{index}.adn.N")
        nodes[level, column] = x
    return [
        functional.conv2d(nodes[0, column], weights[f"heads.{column - 1}.weight"], weights[f"heads.{column - 1}.bias"])
        for column in (1, 2, 3, 4)
    ]


@pytest.fixture(scope="module")
def expected():
    return literal_outputs(make().state_dict(), image())


@pytest.mark.parametrize("head", [1, 2, 3, 4, "last", "all"])
def test_outputs_against_the_literal_network(head, expected):
    network = VGG16UNetPlusPlus(widths=WIDTHS, head=head).eval()
    network.load_state_dict(make().state_dict())
    output = network(image())
    if head == "all":
        torch.testing.assert_close(output.unflatten(1, (4, 6)), torch.stack(expected, 1), rtol=1e-4, atol=1e-4)
    else:
        torch.testing.assert_close(output, expected[3 if head == "last" else head - 1], rtol=1e-4, atol=1e-4)


def test_train_mode_stacks_the_outputs_first_to_last(expected):
    network = make()
    network.training = True  # the batch norms stay in eval mode
    torch.testing.assert_close(network(image()), torch.stack(expected, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("head", "nodes", "layers"),
    [
        (1, {"x_0_1"}, 13),
        (2, {"x_0_1", "x_1_1", "x_0_2"}, 23),
        (3, {"x_0_1", "x_1_1", "x_2_1", "x_0_2", "x_1_2", "x_0_3"}, 33),
    ],
)
def test_nothing_deeper_than_the_head_is_computed(head, nodes, layers):
    network = make(head=head)
    calls = []
    for name, module in [*network.nodes.items(), *network.heads.named_children()]:
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    for layer in network.encoder.features:
        layer.register_forward_hook(lambda *_: calls.append("encoder"))
    network(image())
    assert calls.count("encoder") == layers
    assert sorted(call for call in calls if call != "encoder") == sorted([*nodes, str(head - 1)])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_pruning_keeps_the_outputs(depth, expected):
    whole = make()
    pruned = whole.prune(depth)
    torch.testing.assert_close(pruned(image()), expected[depth - 1], rtol=1e-4, atol=1e-4)
    assert pruned.train()(image()).shape == (2, depth, 6, 32, 48)
    assert pruned.state_dict().keys() == VGG16UNetPlusPlus(widths=WIDTHS, depth=depth).state_dict().keys()
    with torch.no_grad():
        pruned.heads[0].weight.zero_()
    assert whole.heads[0].weight.any(), "the weights are copied, not shared"


def test_pruning_keeps_mode_and_dtype():
    pruned = make().double().train().prune(2)
    assert pruned.training
    assert {parameter.dtype for parameter in pruned.parameters()} == {torch.float64}


@pytest.mark.parametrize("depth", [0, 3, 4])
def test_pruning_cannot_deepen(depth):
    with pytest.raises(ValueError, match="2 outputs can be pruned to 1 to 2"):
        make(depth=2).prune(depth)


def literal_parameter_count() -> int:
    def block(channels: int, width: int, convolutions: int) -> int:
        count = 0
        for _ in range(convolutions):
            count += channels * width * 9 + width + 2 * width
            channels = width
        return count

    widths, convolutions = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)
    count = sum(block(b, w, n) for b, w, n in zip((3, *widths[:4]), widths, convolutions, strict=True))
    for column in (1, 2, 3, 4):
        for level in range(5 - column):
            count += widths[level + 1] * widths[level] * 4 + widths[level]
            count += block((column + 1) * widths[level], widths[level], convolutions[level])
    return count + 4 * (64 * 6 + 6)


def test_paper_widths():
    with torch.device("meta"):
        network = VGG16UNetPlusPlus()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == literal_parameter_count() == 34_539_480


def test_four_channels_and_initial_heads():
    network = VGG16UNetPlusPlus(in_channels=4, widths=WIDTHS)
    assert network(image(channels=4)).shape == (2, 4, 6, 32, 48)
    assert all(not head.bias.any() for head in network.heads)
    assert all(not module.bias.any() for module in network.modules() if isinstance(module, nn.ConvTranspose2d))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": 5}, "head must be 1 to 4"),
        ({"head": 0}, "head must be"),
        ({"head": "first"}, "head must be"),
        ({"head": 3, "depth": 2}, "head must be 1 to 2"),
        ({"depth": 0}, "depth must be 1 to 4"),
        ({"depth": 5}, "depth must be 1 to 4"),
        ({"widths": WIDTHS[:3]}, "widths must name 5 levels"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        VGG16UNetPlusPlus(**{"widths": WIDTHS, **options})
