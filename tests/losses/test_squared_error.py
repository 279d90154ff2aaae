from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor

from tinylesions.losses import SquaredErrorLoss


@pytest.fixture
def logits():
    return 3 * torch.randn(2, 3, 11, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def target():
    return torch.randint(0, 2, (2, 3, 11, 7), generator=torch.Generator().manual_seed(1))


def literal_loss(logits, target, reduction):
    """False negatives and false positives of section 2.2.2, pixel by pixel."""
    false_negatives = false_positives = 0.0
    pixels = 0
    for logit, label in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        probability = 1 / (1 + math.exp(-logit))
        false_negatives += label * (1 - probability) ** 2
        false_positives += probability**2 * (1 - label)
        pixels += 1
    total = false_negatives + false_positives
    return total if reduction == "sum" else total / pixels


def value_and_gradient(loss, logits, target):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_against_the_formula(logits, target, reduction):
    expected = literal_loss(logits, target, reduction)
    loss = SquaredErrorLoss(reduction)
    assert loss(logits, target).item() == pytest.approx(expected, rel=1e-12)
    assert loss(logits.float(), target).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("label", [None, 0, 1])
def test_gradient_numerically(logits, target, reduction, label):
    truth = (target if label is None else torch.full_like(target, label))[:, :, :3, :4]
    loss = SquaredErrorLoss(reduction)
    assert torch.autograd.gradcheck(lambda logits: loss(logits, truth), logits[:, :, :3, :4].requires_grad_())


@pytest.mark.parametrize("label", [0, 1])
def test_one_kind_of_pixels(logits, label):
    truth = torch.full(logits.shape, label)
    assert SquaredErrorLoss()(logits, truth).item() == pytest.approx(literal_loss(logits, truth, "sum"), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [50, 1000])
def test_extreme_logits(size, dtype, target):
    right = (size * (2 * target - 1)).to(dtype)
    for logits, expected in ((right, 0), (-right, 1)):
        value, gradient = value_and_gradient(SquaredErrorLoss("mean"), logits, target)
        assert value.item() == pytest.approx(expected, abs=1e-12)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_a_whole_photo(dtype, reduction):
    generator = torch.Generator().manual_seed(2)
    logits = (3 * torch.randn(1, 1, 712, 1072, generator=generator)).to(dtype)
    target = torch.rand(1, 1, 712, 1072, generator=generator) < 0.01
    loss = SquaredErrorLoss(reduction)
    value, gradient = value_and_gradient(loss, logits, target)
    expected, expected_gradient = value_and_gradient(loss, logits.double(), target)
    assert expected.item() > torch.finfo(torch.float16).max or reduction == "mean"
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64])
def test_target_dtypes(logits, target, dtype):
    expected = literal_loss(logits, target, "sum")
    assert SquaredErrorLoss()(logits, target.to(dtype)).item() == pytest.approx(expected, rel=1e-12)


def test_meta_tensors_give_a_plain_value(logits, target):
    logits.requires_grad_()
    value = SquaredErrorLoss()(MetaTensor(logits), MetaTensor(target))
    assert type(value) is torch.Tensor
    assert value.item() == pytest.approx(literal_loss(logits, target, "sum"), rel=1e-12)
    value.backward()
    assert (logits.grad != 0).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_cuda_gives_the_same(logits, target, reduction):
    loss = SquaredErrorLoss(reduction)
    value, gradient = value_and_gradient(loss, logits.cuda(), target.cuda())
    expected, expected_gradient = value_and_gradient(loss, logits, target)
    assert value.is_cuda
    torch.testing.assert_close(value.cpu(), expected)
    torch.testing.assert_close(gradient.cpu(), expected_gradient)


def test_unknown_reduction():
    with pytest.raises(ValueError, match="reduction must be"):
        SquaredErrorLoss("none")


def test_shapes_that_do_not_fit(logits, target):
    for wrong in (target[0], target[:1], target[:, :1], target[..., 1:]):
        with pytest.raises(ValueError, match="target has the shape"):
            SquaredErrorLoss()(logits, wrong)


@pytest.mark.parametrize("value", [2.0, 255.0, -1.0, 0.5, math.nan])
def test_targets_that_are_no_masks(logits, target, value):
    target = target.float()
    target[1, 2, 3, 4] = value
    with pytest.raises(ValueError, match="values other than 0 and 1"):
        SquaredErrorLoss()(logits, target)
