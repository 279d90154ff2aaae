"""The dilated ResNet against MONAI's plain one."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.resnet import ResNet

from tinylesions.networks.dilated_resnet import DilatedResNet

from .tester import image, stir_batch_norms

WIDTHS = (4, 6, 8, 10)


def plain_resnet(block: str, layers: list[int]) -> ResNet:
    torch.manual_seed(0)
    network = ResNet(
        block,
        layers,
        list(WIDTHS),
        spatial_dims=2,
        n_input_channels=3,
        conv1_t_stride=2,
        feed_forward=False,
        bias_downsample=False,
    )
    return stir_batch_norms(network).double().eval()


@pytest.mark.parametrize("size", [(160, 224), (99, 161)])
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize(
    ("backbone", "block", "layers"),
    [("resnet18", "basic", [2, 2, 2, 2]), ("resnet50", "bottleneck", [3, 4, 6, 3])],
)
def test_sub_sampled_features_are_those_of_the_strided_network(backbone, block, layers, output_stride, size):
    """Exactly so, borders too: zeros lie outside for both."""
    plain = plain_resnet(block, layers)
    dilated = DilatedResNet(backbone, 3, WIDTHS, output_stride).double().eval()
    dilated.load_state_dict(plain.state_dict())
    x = image(*size).double()
    low_level, deep = dilated(x)

    stem = plain.maxpool(plain.act(plain.bn1(plain.conv1(x))))
    expected = plain.layer1(stem)
    torch.testing.assert_close(low_level, expected)
    expected = plain.layer4(plain.layer3(plain.layer2(expected)))
    step = 32 // output_stride
    torch.testing.assert_close(deep[:, :, ::step, ::step], expected)
    assert not torch.allclose(
        deep[:, :, 1::step, 1::step], expected[:, :, : deep.shape[2] // step, : deep.shape[3] // step]
    )


def test_features_between_are_those_of_the_moved_image():
    """Half way between two positions of the strided network lies what it sees in an image moved by 16 pixels."""
    dilated = stir_batch_norms(DilatedResNet("resnet10", 3, WIDTHS)).double().eval()
    x = image(512, 512).double()[:1]
    moved = torch.zeros_like(x)
    moved[:, :, :-16, :-16] = x[:, :, 16:, 16:]
    centre = slice(12, 20)  # positions of 16 pixels that read no border
    after = slice(13, 21)
    torch.testing.assert_close(dilated(moved)[1][:, :, centre, centre], dilated(x)[1][:, :, after, after])


@pytest.mark.parametrize(("output_stride", "deep_size"), [(8, (9, 13)), (16, (5, 7))])
def test_sizes_are_rounded_up(output_stride, deep_size):
    network = DilatedResNet("resnet50", 3, WIDTHS, output_stride)
    low_level, deep = network(image(70, 101))
    assert low_level.shape == (2, network.low_level_channels, 18, 26) == (2, 16, 18, 26)
    assert deep.shape == (2, network.out_channels, *deep_size) == (2, 40, *deep_size)


@pytest.mark.parametrize(("backbone", "parameters"), [("resnet50", 23_508_032), ("resnet101", 42_500_160)])
def test_as_many_parameters_as_published(backbone, parameters):
    with torch.device("meta"):
        network = DilatedResNet(backbone, in_channels=3)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"backbone": "resnet51"}, "resnet10, .*resnet200, not 'resnet51'"),
        ({"output_stride": 32}, "8 or 16, not 32"),
        ({"widths": (4, 8, 16)}, "4 stages, but widths names 3"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        DilatedResNet(**arguments)
