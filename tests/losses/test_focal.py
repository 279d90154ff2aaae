"""The focal loss of the paper's equations 2.1 and 2.2, pixel by pixel, and MONAI's."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from monai.losses import FocalLoss

from tinylesions.losses import PixelFocalLoss

WEIGHT = [0.02, 0.4, 0.08, 0.5]
GAMMAS = [0.0, 1.0, 2.0, 3.5]


@pytest.fixture
def logits():
    return 3 * torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def labels():
    """Of classes 0 to 2; nothing is of class 3."""
    return torch.randint(0, 3, (2, 1, 5, 6), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def literal_loss(logits, labels, weight, gamma):
    """Equation 2.2 in plain Python numbers."""
    total = 0.0
    for image, truth in zip(logits, labels, strict=True):
        for values, label in zip(image.flatten(1).T.tolist(), truth.flatten().tolist(), strict=True):
            exponentials = [math.exp(value) for value in values]
            probability = exponentials[int(label)] / sum(exponentials)
            total -= weight[int(label)] * (1 - probability) ** gamma * math.log(probability)
    return total / labels.numel()


def literal_binary_loss(logits, labels, alpha, gamma):
    """Equation 2.1 in plain Python numbers."""
    total = 0.0
    for value, truth in zip(logits.flatten().tolist(), labels.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-value))
        total -= alpha * truth * (1 - p) ** gamma * math.log(p)
        total -= (1 - alpha) * (1 - truth) * p**gamma * math.log(1 - p)
    return total / labels.numel()


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_against_the_equation(logits, labels, weight, gamma):
    expected = literal_loss(logits, labels, weight or [1, 1, 1, 1], gamma)
    assert PixelFocalLoss(weight, gamma)(logits, labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("alpha", [0.5, 0.84])
def test_one_channel_against_the_equation(logits, labels, alpha, gamma):
    logits, labels = logits[:, :1], labels.clamp(max=1)
    expected = literal_binary_loss(logits, labels, alpha, gamma)
    assert PixelFocalLoss([1 - alpha, alpha], gamma)(logits, labels).item() == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_that_of_the_equation(logits, labels):
    """In double precision, by autograd of the formula in tensors."""
    leaf, literal = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    PixelFocalLoss(WEIGHT)(leaf, labels).backward()
    truth = torch.zeros_like(logits).scatter_(1, labels.long(), 1)
    probability = (literal.softmax(1) * truth).sum(1)
    weight = (torch.tensor(WEIGHT, dtype=torch.float64).view(1, 4, 1, 1) * truth).sum(1)
    (-weight * (1 - probability) ** 2 * probability.log()).mean().backward()
    torch.testing.assert_close(leaf.grad, literal.grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_against_monai(logits, labels, gamma):
    expected = 4 * FocalLoss(to_onehot_y=True, use_softmax=True, gamma=gamma, weight=WEIGHT)(logits, labels.long())
    torch.testing.assert_close(PixelFocalLoss(WEIGHT, gamma)(logits, labels), expected)
    logits, labels = logits[:, :1], labels.clamp(max=1)
    expected = FocalLoss(gamma=gamma, alpha=0.7)(logits, labels)  # sigmoid
    torch.testing.assert_close(PixelFocalLoss([0.3, 0.7], gamma)(logits, labels), expected)


def test_without_focus_it_is_cross_entropy(logits, labels):
    expected = torch.nn.functional.cross_entropy(logits.float(), labels[:, 0].long())
    torch.testing.assert_close(PixelFocalLoss(gamma=0)(logits, labels), expected)


def test_a_class_of_weight_zero_is_not_learnt(logits, labels):
    """Scheme 6 of the class weights for the background."""
    leaf = logits.clone().requires_grad_()
    PixelFocalLoss([0, 0.5, 0.25, 0.25])(leaf, labels).backward()
    background = (labels == 0).expand_as(leaf)
    assert not leaf.grad[background].any()
    assert leaf.grad[~background].all()


@pytest.mark.parametrize("size", [50, 1000])
@pytest.mark.parametrize("channels", [1, 3])
def test_extreme_logits(size, channels):
    labels = torch.randint(0, 2, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(labels[:, 0], max(channels, 2)).movedim(-1, 1).float() * 2 - 1
    for sign, expected in ((1, 0), (-1, 2 if channels > 1 else 1)):
        leaf = (sign * size * (right if channels > 1 else right[:, 1:])).requires_grad_()
        value = PixelFocalLoss()(leaf, labels)
        value.backward()
        assert leaf.grad.isfinite().all()
        assert value.item() == pytest.approx(expected * size, abs=1, rel=1e-3)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_whole_tiles(dtype, channels):
    generator = torch.Generator().manual_seed(3)
    logits = (20 * torch.randn(2, channels, 256, 256, generator=generator)).to(dtype)
    labels = torch.randint(0, max(channels, 2), (2, 1, 256, 256), generator=generator, dtype=torch.uint8)
    leaf = logits.requires_grad_()
    value = PixelFocalLoss()(leaf, labels)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(PixelFocalLoss()(logits.detach().double(), labels).item(), rel=1e-5)
    assert leaf.grad.isfinite().all()
    assert leaf.grad.any()


def test_targets_of_any_type(logits, labels):
    expected = PixelFocalLoss(WEIGHT)(logits, labels)
    one_hot = torch.zeros(2, 4, 5, 6).scatter_(1, labels.long(), 1)
    for target in (labels.float(), labels.long(), MetaTensor(labels), one_hot):
        value = PixelFocalLoss(WEIGHT)(MetaTensor(logits), target)
        assert type(value) is torch.Tensor
        torch.testing.assert_close(value, expected)


def test_a_wrong_number_of_weights_and_shapes(logits, labels):
    with pytest.raises(ValueError, match=r"class_weight \(3\) must match"):
        PixelFocalLoss(WEIGHT[:3])(logits, labels)
    with pytest.raises(ValueError, match=r"class_weight \(4\) must match"):
        PixelFocalLoss(WEIGHT)(logits[:, :1], labels.clamp(max=1))
    with pytest.raises(ValueError, match="non-negative"):
        PixelFocalLoss([-1, 1, 1, 1])(logits, labels)
    with pytest.raises(ValueError, match="target has the shape"):
        PixelFocalLoss()(logits, labels[:1])
