from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from tinylesions.losses import CrossEntropyLoss

WEIGHT = [0.2, 1.0, 3.0]


@pytest.fixture
def logits():
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels():
    return torch.randint(0, 3, (2, 1, 4, 5), generator=torch.Generator().manual_seed(1))


def literal_loss(logits, labels, weight):
    """Equation 5 pixel by pixel; with weights, the mean divides by their sum."""
    total = divisor = 0.0
    for n in range(logits.shape[0]):
        for row in range(logits.shape[2]):
            for column in range(logits.shape[3]):
                exponentials = [math.exp(value) for value in logits[n, :, row, column].tolist()]
                label = int(labels[n, 0, row, column])
                total -= weight[label] * math.log(exponentials[label] / sum(exponentials))
                divisor += weight[label]
    return total, total / divisor


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_against_the_equation(logits, labels, weight):
    total, mean = literal_loss(logits, labels, weight or [1, 1, 1])
    assert CrossEntropyLoss(weight, "sum")(logits, labels).item() == pytest.approx(total, rel=1e-5)
    assert CrossEntropyLoss(weight)(logits, labels).item() == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_against_torch(logits, labels, weight, reduction):
    expected = functional.cross_entropy(
        logits, labels[:, 0], None if weight is None else torch.tensor(weight), reduction=reduction
    )
    torch.testing.assert_close(CrossEntropyLoss(weight, reduction)(logits, labels), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_target_dtypes(logits, labels, dtype, weight):
    loss = CrossEntropyLoss(weight)
    torch.testing.assert_close(loss(logits, labels.to(dtype)), loss(logits, labels))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_one_hot_equals_the_label_map(logits, labels, dtype, reduction):
    loss = CrossEntropyLoss(WEIGHT, reduction)
    one_hot = functional.one_hot(labels[:, 0], 3).movedim(-1, 1).to(dtype)
    torch.testing.assert_close(loss(logits, one_hot), loss(logits, labels))


def test_large_logits():
    logits = torch.tensor([50.0, -50.0, -50.0]).reshape(1, 3, 1, 1).requires_grad_()
    loss = CrossEntropyLoss(reduction="sum")
    assert loss(logits, torch.tensor([[[[0]]]])).item() == 0
    wrong = loss(logits, torch.tensor([[[[1]]]]))
    assert wrong.item() == pytest.approx(100)
    wrong.backward()
    torch.testing.assert_close(logits.grad.flatten(), torch.tensor([1.0, -1.0, 0.0]))


@pytest.mark.parametrize("weight", [None, WEIGHT, [0.0, 1.0, 3.0]])
def test_background_alone_is_finite(logits, weight):
    logits.requires_grad_()
    value = CrossEntropyLoss(weight)(logits, torch.zeros(2, 1, 4, 5))
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()
    assert (value == 0) == (weight is not None and weight[0] == 0)


def test_weight_moves_with_the_module():
    assert CrossEntropyLoss(WEIGHT).double().weight.dtype == torch.float64


def test_shapes_that_do_not_fit(logits, labels):
    loss = CrossEntropyLoss()
    for target in (labels[:, 0], labels.expand(-1, 2, -1, -1), labels[..., 1:], labels[:1]):
        with pytest.raises(ValueError, match="target has the shape"):
            loss(logits, target)


def test_overlapping_masks_are_no_one_hot(logits):
    for target in (torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4, 5)):
        with pytest.raises(ValueError, match="not one-hot"):
            CrossEntropyLoss()(logits, target)


def test_unknown_reduction():
    with pytest.raises(ValueError, match="reduction must be"):
        CrossEntropyLoss(reduction="average")


@pytest.mark.parametrize("weight", [None, [0.2, 0.8]])
def test_one_channel_is_the_logit_of_the_foreground(logits, weight):
    """As torch's binary cross-entropy, whose weighted mean divides by the pixels, not by their weights."""
    foreground = logits[:, :1] * 20
    truth = (logits[:, 1:2] > 0).float()
    of_pixel = torch.ones_like(truth) if weight is None else torch.where(truth > 0, weight[1], weight[0])
    expected = functional.binary_cross_entropy_with_logits(foreground, truth, of_pixel, reduction="sum")
    torch.testing.assert_close(CrossEntropyLoss(weight, "sum")(foreground, truth.to(torch.uint8)), expected)
    torch.testing.assert_close(CrossEntropyLoss(weight)(foreground, truth), expected / of_pixel.sum())
