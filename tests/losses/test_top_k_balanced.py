from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from torch.overrides import TorchFunctionMode

from tinylesions.losses import TopKBalancedCELoss

SHARES = [0, 0.001, 0.0616, 0.14, 1]
PAPER_PIXELS = 712 * 1072


def random_logits(*shape, seed=0, dtype=torch.float64):
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_target(*shape, share, seed=1):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share).float()


def literal_map_loss(logits, labels, share):
    """The paper's formula for one map, pixel by pixel; the sum, and the weights of its pixels in sum."""
    positive_losses, negative_losses = [], []
    for logit, label in zip(logits, labels, strict=True):
        probability = 1 / (1 + math.exp(-logit))
        if label == 1:
            positive_losses.append(-math.log(probability))
        else:
            negative_losses.append(-math.log(1 - probability))
    number = round(share * len(negative_losses))
    if number < len(positive_losses):
        number = len(positive_losses)
    if number == 0:
        number = 1
    top = sorted(negative_losses, reverse=True)[:number]
    beta = 0.5
    if positive_losses and top:
        beta = len(top) / (len(top) + len(positive_losses))
    total = weights = 0.0
    for loss in positive_losses:
        total += beta * loss
        weights += beta
    for loss in top:
        total += (1 - beta) * loss
        weights += 1 - beta
    return total, weights


def literal_loss(logits, target, share, reduction):
    values = []
    for image in range(logits.shape[0]):
        for channel in range(logits.shape[1]):
            total, weights = literal_map_loss(
                logits[image, channel].flatten().tolist(), target[image, channel].flatten().tolist(), share
            )
            values.append(total if reduction == "sum" else total / weights)
    return sum(values) if reduction == "sum" else sum(values) / len(values)


def value_and_gradient(loss, logits, target):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("lesion_share", [0.01, 0.2, 0.7])
def test_against_the_formula(share, reduction, lesion_share):
    logits = random_logits(2, 3, 17, 23)
    target = random_target(2, 3, 17, 23, share=lesion_share)
    expected = literal_loss(logits, target, share, reduction)
    assert TopKBalancedCELoss(share, reduction)(logits, target).item() == pytest.approx(expected, rel=1e-10)
    assert TopKBalancedCELoss(share, reduction)(logits.float(), target).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("share", SHARES)
def test_ties_against_the_formula(share, reduction):
    logits = random_logits(2, 2, 15, 16).round()
    target = random_target(2, 2, 15, 16, share=0.05)
    expected = literal_loss(logits, target, share, reduction)
    assert TopKBalancedCELoss(share, reduction)(logits, target).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("share", "positives", "hard"),
    [
        (0.14, 2, 14),  # 0.14 of 98 is 13.72
        (0.0616, 0, 6),
        (0.001, 0, 1),  # at least one
        (0, 0, 1),
        (0.14, 30, 30),  # at least as many as positives
        (0, 50, 50),
        (1, 40, 60),
        (0.14, 70, 30),  # no more than there are
        (0, 100, 0),
    ],
)
def test_gradient_reaches_the_hard_negatives_alone(share, positives, hard):
    order = torch.randperm(100, generator=torch.Generator().manual_seed(2))
    logits = torch.linspace(-4, 4, 100, dtype=torch.float64)[order].reshape(1, 1, 10, 10)
    target = torch.zeros(100)
    target[torch.randperm(100, generator=torch.Generator().manual_seed(3))[:positives]] = 1
    _, gradient = value_and_gradient(TopKBalancedCELoss(share), logits, target.reshape(1, 1, 10, 10))
    gradient, logits = gradient.flatten(), logits.flatten()
    by_logit = sorted(
        (pixel for pixel in range(100) if target[pixel] == 0), key=lambda pixel: logits[pixel].item(), reverse=True
    )
    beta = hard / (hard + positives) if hard and positives else 0.5
    probability = 1 / (1 + torch.exp(-logits))
    expected = torch.zeros(100, dtype=torch.float64)
    for pixel in range(100):
        if target[pixel] == 1:
            expected[pixel] = -beta * (1 - probability[pixel])
    for pixel in by_logit[:hard]:
        expected[pixel] = (1 - beta) * probability[pixel]
    torch.testing.assert_close(gradient, expected)
    assert int((gradient > 0).sum()) == hard
    assert int((gradient < 0).sum()) == positives


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("share", [0, 0.14, 1])
@pytest.mark.parametrize("lesion_share", [0, 0.1, 0.8, 1])
def test_gradient_numerically(share, reduction, lesion_share):
    # far enough apart for the small step of the check not to change which negatives are hardest
    logits = torch.linspace(-3, 3, 60, dtype=torch.float64)
    logits = logits[torch.randperm(60, generator=torch.Generator().manual_seed(4))].reshape(2, 2, 3, 5).requires_grad_()
    target = random_target(2, 2, 3, 5, share=lesion_share)
    loss = TopKBalancedCELoss(share, reduction)
    assert torch.autograd.gradcheck(lambda logits: loss(logits, target), logits)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("size", [50, 1000])
def test_extreme_logits_have_their_exact_loss(size, reduction):
    target = torch.zeros(1, 1, 4, 4)
    target[..., 0] = 1  # 4 positives, and as many hard negatives: β = 1/2
    wrong = size * (1 - 2 * target)
    value, gradient = value_and_gradient(TopKBalancedCELoss(0, reduction), wrong, target)
    divisor = 1 if reduction == "sum" else 4
    assert value.item() == pytest.approx(4 * size / divisor, rel=1e-6)
    torch.testing.assert_close(gradient[target == 1], torch.full((4,), -0.5 / divisor))
    assert gradient[target == 0].sort().values.tolist() == pytest.approx([0] * 8 + [0.5 / divisor] * 4)
    value, gradient = value_and_gradient(TopKBalancedCELoss(0, reduction), -wrong, target)
    assert 0 <= value.item() < 1e-20
    assert gradient.abs().max() < 1e-20


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("lesion_share", [0, 0.3, 1])
def test_extreme_logits_are_finite(lesion_share, dtype):
    extremes = torch.tensor([-1000.0, -50.0, -20.0, 0.0, 20.0, 50.0, 1000.0], dtype=dtype)
    target = random_target(1, 2, 7, 7, share=lesion_share)
    for reduction in ("sum", "mean"):
        loss = TopKBalancedCELoss(reduction=reduction)
        value, gradient = value_and_gradient(loss, extremes.expand(1, 2, 7, 7), target)
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("label", "pixels"),
    [(0, 14), (1, 100)],  # the hardest 14 of 100 background pixels, or all of the lesion's
)
def test_an_image_of_one_kind_weighs_a_half(label, pixels):
    logits = torch.zeros(1, 1, 10, 10)
    target = torch.full((1, 1, 10, 10), label)
    assert TopKBalancedCELoss()(logits, target).item() == pytest.approx(pixels / 2 * math.log(2), rel=1e-6)
    assert TopKBalancedCELoss(reduction="mean")(logits, target).item() == pytest.approx(math.log(2), rel=1e-6)


def test_all_negatives_are_class_balanced_cross_entropy():
    """λ₀ = 1 leaves the balanced cross-entropy of HED, which torch computes with weights of the pixels."""
    logits, target = random_logits(1, 1, 20, 20), random_target(1, 1, 20, 20, share=0.05).double()
    weight = torch.where(target == 1, 1 - target.mean(), target.mean())
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
    torch.testing.assert_close(TopKBalancedCELoss(1)(logits, target), expected)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_images_and_channels_count_for_themselves(reduction):
    logits, target = random_logits(2, 2, 9, 8), random_target(2, 2, 9, 8, share=0.1)
    target[0, 1], target[1, 0] = 0, 1
    loss = TopKBalancedCELoss(reduction=reduction)
    alone = [loss(logits[n : n + 1, k : k + 1], target[n : n + 1, k : k + 1]) for n in (0, 1) for k in (0, 1)]
    expected = torch.stack(alone).sum() if reduction == "sum" else torch.stack(alone).mean()
    torch.testing.assert_close(loss(logits, target), expected)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_a_whole_photo(dtype, reduction):
    logits = random_logits(1, 1, 712, 1072).to(dtype)
    target = random_target(1, 1, 712, 1072, share=0.01)
    loss = TopKBalancedCELoss(reduction=reduction)
    value, gradient = value_and_gradient(loss, logits, target)
    expected, expected_gradient = value_and_gradient(loss, logits.double(), target)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    # in order of size: of rounded logits that tie at the threshold any may be chosen
    ordered, expected_ordered = (values.double().flatten().sort().values for values in (gradient, expected_gradient))
    torch.testing.assert_close(ordered, expected_ordered, rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype):
    logits = torch.full((1, 1, 712, 1072), 100.0, dtype=dtype)
    value, gradient = value_and_gradient(TopKBalancedCELoss(1), logits, torch.zeros(1, 1, 712, 1072))
    assert value.item() == pytest.approx(0.5 * 100 * PAPER_PIXELS, rel=1e-6)
    assert (gradient == 0.5).all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64])
def test_target_dtypes(dtype):
    logits, target = random_logits(2, 2, 9, 8), random_target(2, 2, 9, 8, share=0.1)
    expected = literal_loss(logits, target, 0.14, "sum")
    assert TopKBalancedCELoss()(logits, target.to(dtype)).item() == pytest.approx(expected, rel=1e-10)


def test_meta_tensors_give_a_plain_value():
    logits, target = random_logits(2, 2, 9, 8).requires_grad_(), random_target(2, 2, 9, 8, share=0.1)
    value = TopKBalancedCELoss()(MetaTensor(logits), MetaTensor(target))
    assert type(value) is torch.Tensor
    assert value.item() == pytest.approx(literal_loss(logits, target, 0.14, "sum"), rel=1e-10)
    value.backward()
    assert (logits.grad != 0).any()


def test_other_memory_layouts():
    logits, target = random_logits(2, 3, 9, 8), random_target(2, 3, 9, 8, share=0.1)
    value = TopKBalancedCELoss()(
        logits.contiguous(memory_format=torch.channels_last), target.mT.contiguous().mT.expand(2, 3, 9, 8)
    )
    assert value.item() == pytest.approx(literal_loss(logits, target, 0.14, "sum"), rel=1e-10)


def test_the_share_may_be_set_between_calls():
    logits, target = random_logits(1, 1, 20, 20), random_target(1, 1, 20, 20, share=0.01)
    loss = TopKBalancedCELoss(0.14)
    for share in (0.0616, 0.14, 1):
        loss.negative_share = share
        assert loss.negative_share == share
        assert loss(logits, target).item() == pytest.approx(literal_loss(logits, target, share, "sum"), rel=1e-10)


def test_nothing_is_sorted():
    """Sorting takes ten times as long as choosing, for eight maps of a photo in each step."""
    calls = []

    class Calls(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            calls.append((getattr(function, "__name__", ""), kwargs or {}))
            return function(*args, **(kwargs or {}))

    with Calls():
        TopKBalancedCELoss()(random_logits(1, 1, 9, 8), random_target(1, 1, 9, 8, share=0.1))
    assert [kwargs for name, kwargs in calls if name == "topk"] == [{"sorted": False}]
    assert not [name for name, _ in calls if "sort" in name]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("share", SHARES)
def test_cuda_gives_the_same(share, reduction):
    logits, target = random_logits(2, 2, 71, 107), random_target(2, 2, 71, 107, share=0.01)
    loss = TopKBalancedCELoss(share, reduction)
    value, gradient = value_and_gradient(loss, logits.cuda(), target.cuda())
    expected, expected_gradient = value_and_gradient(loss, logits, target)
    assert value.is_cuda
    torch.testing.assert_close(value.cpu(), expected)
    torch.testing.assert_close(gradient.cpu(), expected_gradient)


@pytest.mark.parametrize("share", [-0.1, 1.001, 14, math.nan])
def test_shares_out_of_range(share):
    with pytest.raises(ValueError, match="negative_share must be"):
        TopKBalancedCELoss(share)
    loss = TopKBalancedCELoss(0.5)
    with pytest.raises(ValueError, match="negative_share must be"):
        loss.negative_share = share
    assert loss.negative_share == 0.5


def test_unknown_reduction():
    with pytest.raises(ValueError, match="reduction must be"):
        TopKBalancedCELoss(reduction="none")


def test_shapes_that_do_not_fit():
    target = torch.zeros(2, 2, 4, 4)
    for wrong in (target[0], target[:1], target[:, :1], target[..., 1:]):
        with pytest.raises(ValueError, match="target has the shape"):
            TopKBalancedCELoss()(torch.zeros(2, 2, 4, 4), wrong)


@pytest.mark.parametrize("value", [2.0, 255.0, -1.0, 0.5, math.nan])
def test_targets_that_are_no_masks(value):
    target = torch.zeros(1, 1, 4, 4)
    target[0, 0, 2, 3] = value
    with pytest.raises(ValueError, match="values other than 0 and 1"):
        TopKBalancedCELoss()(torch.zeros(1, 1, 4, 4), target)
