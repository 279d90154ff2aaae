from __future__ import annotations

import pytest
import torch
from monai.losses import DiceLoss, FocalLoss

from tinylesions.losses import CrossEntropyLoss, MeanDeepSupervisionLoss

LOSSES = [CrossEntropyLoss(), DiceLoss(softmax=True, to_onehot_y=True), FocalLoss(to_onehot_y=True)]


@pytest.fixture
def logits():
    return torch.randn(2, 4, 3, 6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.fixture
def labels():
    return torch.randint(0, 3, (2, 1, 6, 5), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_value_and_gradients_of_the_literal_mean(loss, logits, labels):
    mean = MeanDeepSupervisionLoss(loss)(logits, labels)
    (gradient,) = torch.autograd.grad(mean, logits)
    expected = (
        loss(logits[:, 0], labels)
        + loss(logits[:, 1], labels)
        + loss(logits[:, 2], labels)
        + loss(logits[:, 3], labels)
    ) / 4
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("outputs", [1, 3])
def test_equal_outputs_have_the_loss_of_one(outputs, logits, labels):
    loss = CrossEntropyLoss()
    repeated = logits[:, :1].expand(-1, outputs, -1, -1, -1)
    torch.testing.assert_close(MeanDeepSupervisionLoss(loss)(repeated, labels), loss(logits[:, 0], labels))


def test_a_list_as_monais_loss_takes_it(logits, labels):
    loss = MeanDeepSupervisionLoss(CrossEntropyLoss())
    torch.testing.assert_close(loss(list(logits.unbind(1)), labels), loss(logits, labels))


def test_one_output_alone(logits, labels):
    loss = CrossEntropyLoss()
    torch.testing.assert_close(MeanDeepSupervisionLoss(loss)(logits[:, 2], labels), loss(logits[:, 2], labels))


def test_other_dimensions(logits, labels):
    with pytest.raises(ValueError, match="several outputs"):
        MeanDeepSupervisionLoss(CrossEntropyLoss())(logits, labels[0])
