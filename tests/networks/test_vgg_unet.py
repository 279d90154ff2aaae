from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tinylesions.networks import VGG16UNet, VGG16UNetPlusPlus

from .tester import WIDTHS, NetworkTester, image, stir_batch_norms


class TestVGG16UNet(NetworkTester):
    train_shape = eval_shape = (2, 6, 32, 48)

    def make(self):
        return VGG16UNet(widths=WIDTHS)


class TestVGG16UNetShallow(NetworkTester):
    train_shape = eval_shape = (2, 2, 32, 48)
    divisor = 4

    def make(self):
        return VGG16UNet(out_channels=2, widths=WIDTHS[:3], batch_norm=False)


def test_shallowest_is_the_first_u_net_of_unet_plus_plus():
    """X(0, 1) of UNet++ is the U-Net of one pool: the two networks share what is between."""
    unet = stir_batch_norms(VGG16UNet(widths=WIDTHS[:2])).eval()
    plus_plus = VGG16UNetPlusPlus(widths=WIDTHS[:2], depth=1).eval()
    names = {"decoder.0.": "nodes.x_0_1.", "head.": "heads.0."}
    weights = unet.state_dict()
    for ours, theirs in names.items():
        weights = {name.replace(ours, theirs): value for name, value in weights.items()}
    plus_plus.load_state_dict(weights)
    torch.testing.assert_close(unet(image()), plus_plus(image()))


def test_decoder_against_literal_steps():
    network = stir_batch_norms(VGG16UNet(widths=WIDTHS)).eval()
    groups, up = network.encoder(image()), [block.up.deconv for block in network.decoder]
    convolutions = [block.convolutions for block in network.decoder]
    x = convolutions[0](torch.cat([groups[3], up[0](groups[4])], 1))
    x = convolutions[1](torch.cat([groups[2], up[1](x)], 1))
    x = convolutions[2](torch.cat([groups[1], up[2](x)], 1))
    x = convolutions[3](torch.cat([groups[0], up[3](x)], 1))
    expected = functional.conv2d(x, network.head.weight, network.head.bias)
    torch.testing.assert_close(network(image()), expected)
    assert [len(block) for block in convolutions] == [3, 3, 2, 2]


def test_one_level_is_no_u_net():
    with pytest.raises(ValueError, match="two levels or more"):
        VGG16UNet(widths=(4,))
