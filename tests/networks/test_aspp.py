"""Atrous spatial pyramid pooling against a literal sum over taps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tinylesions.networks.aspp import AtrousSpatialPyramidPooling

from .tester import image, stir_batch_norms

RATES = (2, 3, 7)


@pytest.fixture
def network() -> AtrousSpatialPyramidPooling:
    torch.manual_seed(0)
    network = stir_batch_norms(AtrousSpatialPyramidPooling(3, 5, RATES))
    nn.init.normal_(network.image_pooling[1].bias)
    return network.double().eval()


def normalised(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    """Batch norm with the running statistics, then ReLU."""
    mean, variance, scale, shift = (
        value.view(-1, 1, 1) for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return ((x - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp(min=0)


def taps(x: torch.Tensor, weight: torch.Tensor, rate: int) -> torch.Tensor:
    """A dilated 3×3 convolution as nine moved images, zeros outside."""
    height, width = x.shape[2:]
    total = torch.zeros(len(x), len(weight), height, width, dtype=x.dtype)
    for row in range(height):
        for column in range(width):
            for i in range(3):
                for j in range(3):
                    y, z = row + (i - 1) * rate, column + (j - 1) * rate
                    if 0 <= y < height and 0 <= z < width:
                        total[:, :, row, column] += x[:, :, y, z] @ weight[:, :, i, j].T
    return total


def test_pyramid_against_a_literal_one(network):
    x = image(9, 12).double()
    first, *dilated = network.branches
    maps = [normalised(torch.einsum("oc,nchw->nohw", first.conv.weight[:, :, 0, 0], x), first.adn.N)]
    for branch, rate in zip(dilated, RATES, strict=True):
        maps.append(normalised(taps(x, branch.conv.weight, rate), branch.adn.N))
    pooling = network.image_pooling[1]
    mean = x.flatten(2).mean(-1) @ pooling.weight[:, :, 0, 0].T + pooling.bias
    maps.append(mean.clamp(min=0)[:, :, None, None] * torch.ones(9, 12))
    weight = network.projection.conv.weight[:, :, 0, 0]
    expected = normalised(torch.einsum("oc,nchw->nohw", weight, torch.cat(maps, 1)), network.projection.adn.N)
    torch.testing.assert_close(network(x), expected)
    assert maps[-1].any()


def test_image_pooling_is_one_value_a_channel_and_image(network):
    """Whatever the other branches see, the mean reaches every place alike."""
    for branch in network.branches:
        nn.init.zeros_(branch.adn.N.weight)
        nn.init.zeros_(branch.adn.N.bias)
    out = network(image().double())
    assert torch.equal(out, out[:, :, :1, :1].expand_as(out))
    assert not out[0].equal(out[1])


def test_one_image_trains(network):
    """A batch norm behind the image pooling would refuse one value a channel."""
    network.train()
    network(image(4, 4)[:1].double()).square().mean().backward()
    assert network.image_pooling[1].weight.grad.any()
    assert network.image_pooling[1].weight.grad.isfinite().all()


def test_dropout_is_for_training_only():
    torch.manual_seed(0)
    network = AtrousSpatialPyramidPooling(3, 16, RATES, dropout=0.4)
    nn.init.constant_(network.projection.adn.N.weight, 0)
    nn.init.constant_(network.projection.adn.N.bias, 1)  # all values are 1 before dropout
    out = network(image(64, 64))
    assert (out == 0).float().mean().item() == pytest.approx(0.4, abs=0.01)
    torch.testing.assert_close(out[out != 0].unique(), torch.tensor([1 / 0.6]))
    assert (network.eval()(image(64, 64)) == 1).all()
