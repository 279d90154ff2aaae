"""Red-Seg against the paper's figures, wired literally."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.transform import resize
from torch import nn

from tinylesions.networks import RedSeg

from .tester import WIDTHS, NetworkTester, image


class TestRedSeg(NetworkTester):
    train_shape = (2, 4, 2, 32, 48)
    eval_shape = (2, 2, 32, 48)
    divisor = 1

    def make(self) -> nn.Module:
        return RedSeg(widths=WIDTHS)


class TestRedSegAllHeads(NetworkTester):
    """Branches of different lengths, all heads in eval mode."""

    train_shape = (2, 5, 2, 32, 48)
    eval_shape = (2, 10, 32, 48)
    divisor = 1

    def make(self) -> nn.Module:
        return RedSeg(widths=WIDTHS, branches=[(2, 3, 4, 5), (3, 4, 5)], head="all")


class TestHolisticallyNested(NetworkTester):
    """HED: every group, for each of four lesions."""

    train_shape = (2, 6, 4, 32, 48)
    eval_shape = (2, 4, 32, 48)
    divisor = 1

    def make(self) -> nn.Module:
        return RedSeg(widths=WIDTHS, branches=[(1, 2, 3, 4, 5)] * 4)


@pytest.fixture
def network() -> RedSeg:
    torch.manual_seed(0)
    network = RedSeg(widths=WIDTHS)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.double()


def enlarged(score: torch.Tensor, scale: int) -> torch.Tensor:
    """Bilinear up-sampling of (N, 1, H, W) by another library."""
    size = [scale * side for side in score.shape[2:]]
    planes = [resize(plane.numpy(), size, order=1, mode="edge", anti_aliasing=False) for plane in score[:, 0].detach()]
    return torch.from_numpy(np.stack(planes))[:, None]


def literal(network: RedSeg, x: torch.Tensor) -> list[list[torch.Tensor]]:
    """Figures 2 to 4 step by step: (N, 1, H, W) logits of each lesion's side outputs and its fused output."""
    layers = network.encoder.features
    conv1 = layers[:4](x)
    conv2 = layers[4:9](conv1)
    conv3 = layers[9:16](conv2)
    conv4 = layers[16:23](conv3)
    conv5 = layers[23:](conv4)
    lesions = []
    for branch, groups, scales in zip(
        network.branches, ((conv2, conv3, conv4), (conv3, conv4, conv5)), ((2, 4, 8), (4, 8, 16)), strict=True
    ):
        sides = [
            enlarged((group * side.weight.view(-1, 1, 1)).sum(1, keepdim=True) + side.bias, scale)
            for side, group, scale in zip(branch.sides, groups, scales, strict=True)
        ]
        fused = sum(weight * side for weight, side in zip(branch.fusion.weight.flatten(), sides, strict=True))
        lesions.append([*sides, fused + branch.fusion.bias])
    return lesions


def test_wiring_is_that_of_the_figures(network):
    x = image(48, 32).double()
    microaneurysm, haemorrhage = literal(network, x)
    stacked = network(x)
    for head in range(4):
        torch.testing.assert_close(stacked[:, head, :1], microaneurysm[head])
        torch.testing.assert_close(stacked[:, head, 1:], haemorrhage[head])


def test_table_1():
    network = RedSeg()
    shapes = {name: tuple(weight.shape) for name, weight in network.named_parameters() if weight.ndim == 4}
    backbone = [shape for name, shape in shapes.items() if name.startswith("encoder")]
    expected = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert [(out, kernel) for out, _, kernel, _ in backbone] == [(width, 3) for width in expected]
    sides = [shape for name, shape in shapes.items() if ".sides." in name]
    assert sides == [(1, width, 1, 1) for width in (128, 256, 512, 256, 512, 512)]
    assert sum(weight.numel() for weight in network.encoder.parameters()) == 14_714_688, "VGG16's convolutions"


def test_heads_in_eval_mode_are_those_of_train_mode(network):
    x = image(40, 56).double()
    stacked = network(x)
    assert torch.equal(network.eval()(x), stacked[:, -1])
    every = RedSeg(widths=WIDTHS, head="all").double().eval()
    every.load_state_dict(network.state_dict())
    assert torch.equal(every(x).unflatten(1, (4, 2)), stacked)


def test_a_shorter_branch_has_zeros_first():
    network = RedSeg(widths=WIDTHS, branches=[(1, 2, 3, 4), (4, 5)])
    assert network.head_counts == [5, 3]
    heads = network(image())
    assert not heads[:, :2, 1].any()
    assert all(heads[:, head, lesion].any() for lesion, first in ((0, 0), (1, 2)) for head in range(first, 5))


@pytest.mark.parametrize("size", [(712, 1072), (17, 5), (1, 1)])
def test_padding_leaves_no_trace_in_the_outputs(size):
    """The border is repeated: as if the photo went on."""
    torch.manual_seed(0)
    network = RedSeg(widths=[2] * 5).eval()
    x = image(*size)[:1]
    height, width = ((side + 15) // 16 * 16 for side in size)
    rows, columns = (
        torch.arange(padded).clamp(max=side - 1) for padded, side in zip((height, width), size, strict=True)
    )
    padded = x[:, :, rows][:, :, :, columns]
    torch.testing.assert_close(network(x), network(padded)[:, :, : size[0], : size[1]])


def test_only_the_groups_that_are_read_are_built():
    network = RedSeg(widths=WIDTHS, branches=[(1, 2), (2, 3)])
    assert network.encoder.widths == WIDTHS[:3]
    assert network(image(7, 9)).shape == (2, 3, 2, 7, 9)


def test_fusion_starts_as_the_mean_of_the_sides():
    torch.manual_seed(0)
    heads = RedSeg(widths=WIDTHS)(image())
    torch.testing.assert_close(heads[:, -1], heads[:, :-1].mean(1))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"branches": [(2, 3), ()]}, "ascending"),
        ({"branches": [(3, 2)]}, "ascending"),
        ({"branches": [(2, 2)]}, "ascending"),
        ({"branches": [(0, 1)]}, "from 1 to 5"),
        ({"branches": [(5, 6)]}, "from 1 to 5"),
        ({"widths": [4, 4], "branches": [(1, 3)]}, "from 1 to 2"),
        ({"branches": []}, "one lesion"),
        ({"head": "last"}, "fused"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        RedSeg(**{"widths": WIDTHS, **arguments})


def test_imagenet_weights_load_by_torchvisions_names(tmp_path):
    source = RedSeg(widths=WIDTHS)
    weights = source.encoder.state_dict() | {"classifier.0.weight": torch.zeros(1)}
    torch.save(weights, tmp_path / "vgg16.pth")
    network = RedSeg(widths=WIDTHS, pretrained=tmp_path / "vgg16.pth")
    for name, weight in source.encoder.state_dict().items():
        assert name.startswith("features.")
        assert torch.equal(network.encoder.state_dict()[name], weight)
