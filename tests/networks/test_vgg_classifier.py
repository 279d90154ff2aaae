from __future__ import annotations

import pytest
import torch

from tinylesions.networks import VGG16Classifier

from .tester import WIDTHS, image, stir_batch_norms


def make() -> VGG16Classifier:
    torch.manual_seed(0)
    return stir_batch_norms(VGG16Classifier(widths=WIDTHS)).eval()


def test_grade_is_linear_in_the_mean_of_the_deepest_features():
    network = make()
    deepest = network.encoder(image())[4]
    means = torch.stack([torch.stack([channel.sum() / channel.numel() for channel in photo]) for photo in deepest])
    torch.testing.assert_close(network(image()), means @ network.head.weight.T + network.head.bias)


def test_any_size_that_the_pools_divide():
    assert make()(image(16, 80)).shape == (2, 5)
    with pytest.raises(ValueError, match=r"33 × 48 .*multiples of 16"):
        make()(image(33, 48))


def test_torchscript_and_training():
    network = make()
    torch.testing.assert_close(torch.jit.script(network)(image()), network(image()))
    network.train()(image()).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
