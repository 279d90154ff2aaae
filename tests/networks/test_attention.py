from __future__ import annotations

import pytest
import torch
from monai.networks.blocks import ChannelSELayer
from torch import nn
from torch.nn import functional

from tinylesions.networks import ATTENTIONS, CBAM, ChannelAttention, SelfAttention, SpatialAttention, attention_block


def features(channels: int = 8) -> torch.Tensor:
    return torch.randn(2, channels, 5, 6, generator=torch.Generator().manual_seed(0))


def linear(layer: nn.Conv2d, vector: torch.Tensor) -> torch.Tensor:
    """A 1×1 convolution of one value a channel, as a matrix product."""
    return layer.weight[:, :, 0, 0] @ vector + layer.bias


def literal_channel_attention(block: ChannelAttention, x: torch.Tensor) -> torch.Tensor:
    """M_c(F) = σ(W1 W0 F_avg + W1 W0 F_max), photo by photo."""
    first, _, second = block.bottleneck
    photos = []
    for photo in x:
        total = sum(
            linear(second, linear(first, pooled).clamp(min=0)) for pooled in (photo.mean((1, 2)), photo.amax((1, 2)))
        )
        photos.append(photo * torch.sigmoid(total)[:, None, None])
    return torch.stack(photos)


def literal_spatial_attention(block: SpatialAttention, x: torch.Tensor) -> torch.Tensor:
    """M_s(F) = σ(f7×7([mean; max])), pixel by pixel."""
    weight, bias = block.convolution.weight[0], block.convolution.bias
    padded = functional.pad(torch.stack([x.mean(1), x.amax(1)], dim=1), (3, 3, 3, 3))
    out = torch.empty_like(x)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            near = padded[:, :, row : row + 7, column : column + 7]
            score = (near * weight).sum((1, 2, 3)) + bias
            out[:, :, row, column] = x[:, :, row, column] * torch.sigmoid(score)[:, None]
    return out


def test_channel_attention_is_its_definition():
    block = ChannelAttention(8, reduction=4)
    assert block.bottleneck[0].out_channels == 2
    torch.testing.assert_close(block(features()), literal_channel_attention(block, features()))


def test_spatial_attention_is_its_definition():
    block = SpatialAttention()
    torch.testing.assert_close(block(features()), literal_spatial_attention(block, features()))


def test_cbam_adds_both_to_its_input():
    block = CBAM(8, reduction=4)
    x = features()
    expected = x + literal_spatial_attention(block.spatial, literal_channel_attention(block.channel, x))
    torch.testing.assert_close(block(x), expected)


@torch.no_grad()
def test_self_attention_is_its_definition():
    block = SelfAttention(16)
    x = features(16)
    out = torch.empty_like(x)
    for number, photo in enumerate(x):
        places = photo.flatten(1).T
        query, key, value = (
            torch.stack([linear(layer, place) for place in places]) for layer in (block.query, block.key, block.value)
        )
        for index, place in enumerate(places):
            scores = torch.stack([query[index] @ other for other in key]) / 2**0.5  # two channels of 16 / 8
            weights = scores.exp() / scores.exp().sum()
            out[number].view(16, -1)[:, index] = place + (weights[:, None] * value).sum(0)
    torch.testing.assert_close(block(x), out, rtol=1e-4, atol=1e-5)


def test_self_attention_knows_no_order():
    block, x = SelfAttention(16), features(16)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    moved = x.flatten(2)[:, :, order].reshape(x.shape)
    torch.testing.assert_close(block(moved).flatten(2), block(x).flatten(2)[:, :, order], rtol=1e-4, atol=1e-5)


def test_squeeze_and_excitation_is_monais():
    block = attention_block("se", 32)
    assert isinstance(block, ChannelSELayer)
    assert block.fc[0].out_features == 2


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("channels", [4, 32])
def test_every_attention_keeps_the_shape_and_learns(name, channels):
    block, x = attention_block(name, channels), features(channels).requires_grad_()
    for layer in block.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.ones_(layer.bias)  # a bottleneck of one channel may else lie dead behind its ReLU
    out = block(x)
    assert out.shape == x.shape
    out.square().sum().backward()
    for parameter_name, parameter in block.named_parameters():
        # a softmax does not change when all its scores grow alike
        assert parameter.grad.any() or parameter_name == "key.bias", parameter_name


def test_an_unknown_attention_is_named():
    with pytest.raises(ValueError, match=r"one of spatial, se, self, cbam, not 'gate'"):
        attention_block("gate", 8)
