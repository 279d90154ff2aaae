"""The networks of nuclei that are MONAI's, or another paper's: colour tiles and any number of classes."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import AttentionUnet
from torch import nn

from tinylesions.networks import UNet, UNetPlusPlus

from .tester import WIDTHS, NetworkTester, image


class TestAttentionUNet(NetworkTester):
    """MONAI's, as the config builds it: strides of two between the levels."""

    train_shape = eval_shape = (2, 7, 32, 48)

    def make(self) -> nn.Module:
        return AttentionUnet(2, in_channels=3, out_channels=7, channels=WIDTHS, strides=[2] * (len(WIDTHS) - 1))

    def test_an_indivisible_size_is_padded_or_named(self, network):
        """MONAI's checks nothing: pad, or cut windows."""
        with pytest.raises(RuntimeError, match="must match"):
            network.eval()(image(33, 48))

    def test_torchscript(self, network):
        for mode in (True, False):
            scripted = torch.jit.script(network.train(mode))
            torch.testing.assert_close(scripted(image()), network(image()))


@pytest.mark.parametrize("kind", [UNet, UNetPlusPlus])
@pytest.mark.parametrize("classes", [1, 2, 7])
def test_plain_networks_of_several_classes(kind, classes):
    network = kind(in_channels=3, out_channels=classes, widths=WIDTHS)
    logits = network(image())
    assert logits.shape == (2, classes, 32, 48)
    logits.square().mean().backward()
    assert network.head.weight.grad.flatten(1).any(1).all()
    assert torch.jit.script(network.eval())(image()).shape == (2, classes, 32, 48)
