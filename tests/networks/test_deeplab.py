"""DeepLabv3+ against the figure of its paper, wired literally."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from skimage.transform import resize
from torch import nn

from tinylesions.networks.deeplab import DeepLabV3Plus

from .tester import NetworkTester, image, stir_batch_norms

NARROW = {"widths": (4, 4, 8, 8), "aspp_channels": 8, "low_level_channels": 4}


class TestDeepLabV3Plus(NetworkTester):
    train_shape = eval_shape = (2, 7, 32, 48)
    divisor = 1

    def make(self) -> nn.Module:
        return DeepLabV3Plus(3, 7, "resnet50", dropout=0, **NARROW)


class TestDeepLabV3PlusDense(NetworkTester):
    """Basic blocks, deep features at an eighth of the image."""

    train_shape = eval_shape = (2, 1, 32, 48)
    divisor = 1

    def make(self) -> nn.Module:
        return DeepLabV3Plus(3, 1, "resnet18", output_stride=8, dropout=0, **NARROW)


def enlarged(features: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Bilinear enlargement by another library."""
    maps = [
        resize(channel.numpy(), size, order=1, mode="edge", anti_aliasing=False) for channel in features.flatten(0, 1)
    ]
    return torch.from_numpy(np.stack(maps)).unflatten(0, features.shape[:2])


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(64, 96), (50, 75)])
def test_wiring_is_that_of_figure_2(output_stride, size):
    torch.manual_seed(0)
    network = DeepLabV3Plus(3, 2, "resnet10", output_stride, **NARROW)
    stir_batch_norms(network).double().eval()
    x = image(*size).double()
    with torch.no_grad():
        low_level, deep = network.encoder(x)
        assert low_level.shape[2:] == tuple(-(-side // 4) for side in size)
        assert deep.shape[2:] == tuple(-(-side // output_stride) for side in size)
        both = torch.cat([network.low_level(low_level), enlarged(network.aspp(deep), low_level.shape[2:])], 1)
        first, second = network.decoder
        scores = torch.einsum("kc,nchw->nkhw", network.head.weight[:, :, 0, 0], second(first(both)))
        expected = enlarged(scores + network.head.bias.view(-1, 1, 1), size)
        torch.testing.assert_close(network(x), expected)
    assert [block.conv.kernel_size for block in (network.low_level, first, second)] == [(1, 1), (3, 3), (3, 3)]


@pytest.mark.parametrize(("output_stride", "rates"), [(16, [6, 12, 18]), (8, [12, 24, 36])])
def test_the_pyramid_reaches_equally_far_in_the_image(output_stride, rates):
    """The same 96, 192 and 288 pixels."""
    with torch.device("meta"):
        network = DeepLabV3Plus(output_stride=output_stride)
    assert [branch.conv.dilation for branch in network.aspp.branches] == [(rate, rate) for rate in (1, *rates)]


def test_parameters_of_the_papers_network():
    with torch.device("meta"):
        network = DeepLabV3Plus(in_channels=3, out_channels=21)
    pyramid = 2048 * 256 + 3 * 9 * 2048 * 256 + (2048 * 256 + 256) + 5 * 256 * 256
    decoder = 256 * 48 + 9 * (256 + 48) * 256 + 9 * 256 * 256
    head = 256 * 21 + 21
    norms = 2 * (5 * 256 + 48 + 2 * 256)
    expected = 42_500_160 + pyramid + decoder + head + norms
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_a_far_pixel_counts_only_through_the_image_pooling():
    """Rates beyond the features' border read zeros; the mean reads all."""
    torch.manual_seed(0)
    network = DeepLabV3Plus(3, 1, "resnet10", **NARROW).double().eval()
    x = image(64, 768).double()[:1].requires_grad_()

    def influence() -> torch.Tensor:
        (gradient,) = torch.autograd.grad(network(x)[0, 0, 32, 16], x)
        return gradient[..., -64:].abs().max()

    assert influence() > 0
    nn.init.zeros_(network.aspp.image_pooling[1].weight)
    assert influence() == 0


def test_one_image_trains():
    torch.manual_seed(0)
    network = DeepLabV3Plus(1, 1, "resnet10", **NARROW)
    x = image(64, 80, channels=1)[:1]
    truth = (x > 0.5).float()
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    losses = []
    for _ in range(8):
        loss = nn.functional.binary_cross_entropy_with_logits(network(x), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_copies_and_memory_formats_give_the_same():
    network = stir_batch_norms(DeepLabV3Plus(3, 2, "resnet18", **NARROW)).eval()
    twin = copy.deepcopy(network).to(memory_format=torch.channels_last)
    x = image(45, 61)
    torch.testing.assert_close(twin(x.contiguous(memory_format=torch.channels_last)), network(x), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert network(x).any()


@pytest.mark.parametrize(
    ("arguments", "match"), [({"backbone": "xception"}, "'xception'"), ({"output_stride": 4}, "8 or 16, not 4")]
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        DeepLabV3Plus(**arguments)
