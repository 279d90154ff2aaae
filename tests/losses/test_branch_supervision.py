from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.losses import DiceLoss
from torch import nn

from tinylesions.losses import BranchSupervisionLoss, SquaredErrorLoss, TopKBalancedCELoss

REDUCTIONS = ["sum", "mean"]
STAGES = [TopKBalancedCELoss, SquaredErrorLoss]


@pytest.fixture
def logits():
    """Five heads of two lesions for two images."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, 2, 9, 8, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.fixture
def target():
    return (torch.rand(2, 2, 9, 8, generator=torch.Generator().manual_seed(1)) < 0.1).float()


def value_and_gradient(value, logits):
    return value, torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("head_counts", [None, [4, 4]])
def test_the_papers_eight_losses(head_counts, stage, reduction, logits, target):
    loss, heads = stage(reduction=reduction), logits[:, 1:]
    microaneurysms, haemorrhages = target[:, 0:1], target[:, 1:2]
    expected = (
        loss(heads[:, 0, 0:1], microaneurysms)
        + loss(heads[:, 1, 0:1], microaneurysms)
        + loss(heads[:, 2, 0:1], microaneurysms)
        + loss(heads[:, 3, 0:1], microaneurysms)
        + loss(heads[:, 0, 1:2], haemorrhages)
        + loss(heads[:, 1, 1:2], haemorrhages)
        + loss(heads[:, 2, 1:2], haemorrhages)
        + loss(heads[:, 3, 1:2], haemorrhages)
    )
    value, gradient = value_and_gradient(BranchSupervisionLoss(loss, head_counts)(heads, target), logits)
    expected, expected_gradient = value_and_gradient(expected, logits)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("head_counts", [[5, 4], [1, 5], [2, 2]])
def test_padding_of_shorter_branches_does_not_count(head_counts, stage, reduction, logits, target):
    loss = stage(reduction=reduction)
    own = torch.zeros(5, 2, dtype=torch.bool)
    expected = torch.zeros((), dtype=torch.float64)
    for lesion in range(2):
        for head in range(5 - head_counts[lesion], 5):
            own[head, lesion] = True
            expected = expected + loss(logits[:, head, lesion : lesion + 1], target[:, lesion : lesion + 1])
    supervision = BranchSupervisionLoss(loss, head_counts)
    value, gradient = value_and_gradient(supervision(logits, target), logits)
    torch.testing.assert_close(value, expected)
    assert (gradient[:, ~own] == 0).all()
    assert (gradient[:, own] != 0).flatten(2).any(-1).all()
    padded = torch.where(own[:, :, None, None], logits, 0)
    torch.testing.assert_close(supervision(padded, target), value)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("head_counts", [None, [5, 4]])
def test_one_head_as_in_eval_mode(head_counts, stage, reduction, logits, target):
    loss = stage(reduction=reduction)
    expected = loss(logits[:, 4, 0:1], target[:, 0:1]) + loss(logits[:, 4, 1:2], target[:, 1:2])
    torch.testing.assert_close(BranchSupervisionLoss(loss, head_counts)(logits[:, 4], target), expected)


@pytest.mark.parametrize("stage", STAGES)
def test_equal_heads_multiply_the_loss_of_one(stage, logits, target):
    loss = stage(reduction="sum")
    repeated = logits[:, :1].expand(-1, 4, -1, -1, -1)
    torch.testing.assert_close(BranchSupervisionLoss(loss, [4, 4])(repeated, target), 4 * loss(logits[:, 0], target))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("stage", STAGES)
def test_gradient_numerically(stage, reduction, target):
    logits = torch.linspace(-3, 3, 72, dtype=torch.float64)  # far enough apart to keep the order of the hardest
    logits = logits[torch.randperm(72, generator=torch.Generator().manual_seed(2))].reshape(1, 3, 2, 3, 4)
    supervision = BranchSupervisionLoss(stage(reduction=reduction), [3, 2])
    truth = target[:1, :, :3, :4].clone()
    truth[..., 0, 0] = 1
    assert torch.autograd.gradcheck(lambda logits: supervision(logits, truth), logits.requires_grad_())


@pytest.mark.parametrize("loss", [DiceLoss(sigmoid=True, batch=True), nn.BCEWithLogitsLoss()])
def test_losses_of_others(loss, logits, target):
    """Dice of several heads at once would not be the mean of theirs, were it not asked for each alone."""
    expected = sum(
        loss(logits[:, head, lesion : lesion + 1], target[:, lesion : lesion + 1].double())
        for head in range(5)
        for lesion in range(2)
    )
    torch.testing.assert_close(BranchSupervisionLoss(loss)(logits, target.double()), expected)


@pytest.mark.parametrize("size", [50, 1000])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("label", [0, 1])
def test_extreme_logits_are_finite(label, stage, size, logits, target):
    extreme = (size * logits.detach().sign()).requires_grad_()
    supervision = BranchSupervisionLoss(stage(), [5, 4])
    value, gradient = value_and_gradient(supervision(extreme, torch.full_like(target, label)), extreme)
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("stage", STAGES)
def test_half_precision(stage, dtype, logits, target):
    supervision = BranchSupervisionLoss(stage(), [5, 4])
    half = logits.detach().to(dtype).requires_grad_()
    value, gradient = value_and_gradient(supervision(half, target), half)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value, supervision(half.float(), target))


def test_meta_tensors_give_a_plain_value(logits, target):
    supervision = BranchSupervisionLoss(TopKBalancedCELoss(), [5, 4])
    for own, truth in ((logits, target), (logits[:, -1], target)):
        value = supervision(MetaTensor(own), MetaTensor(truth))
        assert type(value) is torch.Tensor
        torch.testing.assert_close(value, supervision(own, truth))


def test_the_share_of_the_inner_loss_may_be_set(logits, target):
    loss = TopKBalancedCELoss(0.14)
    supervision = BranchSupervisionLoss(loss, [5, 4])
    before = supervision(logits, target)
    loss.negative_share = 1
    torch.testing.assert_close(
        supervision(logits, target), BranchSupervisionLoss(TopKBalancedCELoss(1), [5, 4])(logits, target)
    )
    assert supervision(logits, target) != before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("stage", STAGES)
def test_cuda_gives_the_same(stage, logits, target):
    supervision = BranchSupervisionLoss(stage(), [5, 4])
    value, gradient = value_and_gradient(supervision(logits.cuda(), target.cuda()), logits)
    expected, expected_gradient = value_and_gradient(supervision(logits, target), logits)
    assert value.is_cuda
    torch.testing.assert_close(value.cpu(), expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_shapes_that_do_not_fit(logits, target):
    supervision = BranchSupervisionLoss(SquaredErrorLoss())
    wrong_targets = (target[0], target[:1], target[:, :1], target.repeat(1, 2, 1, 1), target[..., :1], target[..., 1:])
    for truth in wrong_targets:
        for own in (logits, logits[:, -1]):
            with pytest.raises(ValueError, match="logits have the shape"):
                supervision(own, truth)
    with pytest.raises(ValueError, match="logits have the shape"):
        supervision(logits.flatten(1, 2), target)  # what RedSeg gives in eval mode with head="all"


@pytest.mark.parametrize("head_counts", [[6, 5], [5], [4, 4, 4]])
def test_other_branches_than_named(head_counts, logits, target):
    with pytest.raises(ValueError, match="does not fit head_counts"):
        BranchSupervisionLoss(SquaredErrorLoss(), head_counts)(logits, target)


@pytest.mark.parametrize("head_counts", [[5], [4, 4, 4]])
def test_other_lesions_than_named_in_eval_mode(head_counts, logits, target):
    with pytest.raises(ValueError, match="does not fit head_counts"):
        BranchSupervisionLoss(SquaredErrorLoss(), head_counts)(logits[:, -1], target)


@pytest.mark.parametrize("head_counts", [[], [0, 4], [4, -1]])
def test_branches_without_heads(head_counts):
    with pytest.raises(ValueError, match="head_counts must name"):
        BranchSupervisionLoss(SquaredErrorLoss(), head_counts)
