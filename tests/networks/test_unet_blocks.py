"""The block and the enlargement of the plain U-Nets against literal ones, and the order of its gradient in memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks.unet_blocks import BilinearUpSample, ConvolutionBlock

from .tester import stir_batch_norms
from .unet_reference import block, enlarged

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def features(height: int = 5, width: int = 6, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("width", "bottleneck"), [(4, 1), (16, 1), (40, 2)])
def test_block_is_its_definition(width, bottleneck, training):
    torch.manual_seed(0)
    module = stir_batch_norms(ConvolutionBlock(3, width, channel_attention=True)).double().train(training)
    nn.init.normal_(module.attention.fc[0].bias, mean=1)
    assert module.attention.fc[0].weight.shape == (bottleneck, width)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    weights = {f"block.{name}": value for name, value in before.items()}
    torch.testing.assert_close(module(features()), block(weights, "block", features(), training))
    plain = ConvolutionBlock(3, width).double().train(training)
    plain.load_state_dict({name: value for name, value in before.items() if "attention" not in name})
    weights = {name: value for name, value in weights.items() if "attention" not in name}
    torch.testing.assert_close(plain(features()), block(weights, "block", features(), training))


def test_attention_differs_between_images_in_batches_of_one():
    """Behind a batch norm of one image each channel has the same mean, whatever the image."""
    torch.manual_seed(0)
    module = stir_batch_norms(ConvolutionBlock(3, 16, channel_attention=True)).train()
    nn.init.normal_(module.attention.fc[0].bias, mean=1)
    seen = []
    module.attention.fc.register_forward_hook(lambda layer, inputs, weights: seen.append(weights))
    image = features().float()[:1]
    for other in (image, (2 * image).exp()):  # evenly bright, and a few bright spots
        module(other)
    assert (seen[0] - seen[1]).abs().max() > 1e-4  # rounding is a thousandth of that


def test_block_leaves_its_input():
    """Its ReLUs work in place, and a skip is read again."""
    x = features().float()
    before = x.clone()
    ConvolutionBlock(3, 4, channel_attention=True)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (2, 2), (5, 6), (17, 3)])
def test_enlargement_is_its_definition(height, width):
    x = features(height, width)
    out = BilinearUpSample()(x)
    torch.testing.assert_close(out, enlarged(x))
    torch.testing.assert_close(out, functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
    corners = torch.tensor([0, -1])
    torch.testing.assert_close(out[:, :, corners][..., corners], x[:, :, corners][..., corners])


def test_gradients_are_those_of_the_enlargement():
    up = BilinearUpSample()
    x = features(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(up, x, check_undefined_grad=False)  # a concatenation always hands one back
    assert torch.autograd.gradgradcheck(up, x, check_undefined_grad=False)
    skip, weight = features(6, 8), torch.randn(2, 6, 6, 8, dtype=torch.float64)
    for enlarge in (up, torch.jit.script(up)):
        (found,) = torch.autograd.grad((torch.cat([skip, enlarge(x)], 1).square() * weight).sum(), x)
        (expected,) = torch.autograd.grad((torch.cat([skip, enlarged(x)], 1).square() * weight).sum(), x)
        torch.testing.assert_close(found, expected)


def received_gradient(enlarge, layout: torch.memory_format) -> torch.Tensor:
    """What the backward pass of the enlargement is handed when a concatenation follows."""
    received = []
    x = features().contiguous(memory_format=layout).requires_grad_()
    out = enlarge(x)
    out.grad_fn.register_prehook(lambda gradients: received.append(gradients[0]))
    torch.cat([features(10, 12).contiguous(memory_format=layout), out], dim=1).square().sum().backward()
    return received[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_is_dense_behind_a_concatenation(layout):
    gradient = received_gradient(BilinearUpSample(), layout)
    assert gradient.is_contiguous(memory_format=layout)
    plain = received_gradient(lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear"), layout)
    assert not plain.is_contiguous(memory_format=layout), "torch puts it in order by itself now: drop the hook"


def test_no_hook_without_a_gradient():
    up, x = BilinearUpSample(), features()
    assert up(x)._backward_hooks is None
    with torch.no_grad():
        assert up(x.requires_grad_())._backward_hooks is None
    assert up(x)._backward_hooks


@pytest.mark.parametrize("size", [(5, 6), (1, 3)])
def test_torchscript(size):
    scripted = torch.jit.script(BilinearUpSample())
    x = features(*size)
    assert torch.equal(scripted(x), BilinearUpSample()(x))
    assert torch.equal(scripted(x.requires_grad_()), BilinearUpSample()(x))
