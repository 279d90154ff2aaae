from __future__ import annotations

import pickle

import pytest
import torch
from monai.losses import DiceLoss
from torch import nn
from torch.nn import functional

from tinylesions.losses import ClassBalancedCELoss, MultiTaskLoss


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return {
        "grade": torch.randn(2, 5, generator=generator, dtype=torch.float64),
        "segmentation": torch.randn(2, 5, 8, 8, generator=generator, dtype=torch.float64),
    }


@pytest.fixture
def target():
    generator = torch.Generator().manual_seed(1)
    return {
        "grade": torch.tensor([3, 0]),
        "grade_weight": torch.tensor([1.0, 0.5]),
        "segmentation": torch.randint(0, 5, (2, 1, 8, 8), generator=generator),
        "segmentation_weight": torch.tensor([0.0, 0.7]),
    }


@pytest.fixture
def losses():
    return {"grade": ClassBalancedCELoss(0), "segmentation": ClassBalancedCELoss()}


def grade_loss(logits):
    """Mean cross-entropy of the grades 3 and 0, the second of which has the weight ½."""
    log_probabilities = logits["grade"].log_softmax(1)
    return -(log_probabilities[0, 3] + 0.5 * log_probabilities[1, 0]) / 2


@pytest.mark.parametrize(
    ("weights", "grade", "segmentation"), [(None, 1, 1), ({"segmentation": 3.0}, 1, 3), ({"grade": 0.5}, 0.5, 1)]
)
def test_the_sum_of_both_tasks(logits, target, losses, weights, grade, segmentation):
    for tensor in logits.values():
        tensor.requires_grad_()
    own = losses["segmentation"](logits["segmentation"][1:], target["segmentation"][1:], torch.tensor([0.7]))
    expected = grade * grade_loss(logits) + segmentation * own
    value = MultiTaskLoss(losses, weights)(logits, target)
    torch.testing.assert_close(value, expected)
    tensors = list(logits.values())
    for found, wanted in zip(torch.autograd.grad(value, tensors), torch.autograd.grad(expected, tensors), strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_network_of_one_task(logits, target, losses):
    loss = MultiTaskLoss(losses)
    torch.testing.assert_close(loss({"grade": logits["grade"]}, target), grade_loss(logits))
    both = loss(logits, target)
    segmentation = loss({"segmentation": logits["segmentation"]}, target)
    torch.testing.assert_close(both - segmentation, grade_loss(logits))


def test_losses_of_others_without_weights(logits, target):
    """A loss that knows no weights of samples is asked without them."""
    loss = MultiTaskLoss(
        {"grade": nn.CrossEntropyLoss(), "segmentation": DiceLoss(softmax=True, to_onehot_y=True)}, {"grade": 2.0}
    )
    plain = {task: target[task] for task in logits}
    one_hot = functional.one_hot(target["segmentation"][:, 0], 5).movedim(-1, 1)
    dice = DiceLoss(softmax=True)(logits["segmentation"], one_hot)
    expected = 2 * functional.cross_entropy(logits["grade"], target["grade"]) + dice
    torch.testing.assert_close(loss(logits, plain), expected)


def test_a_batch_without_labels_of_a_task(logits, target, losses):
    target["segmentation_weight"] = torch.zeros(2)
    torch.testing.assert_close(MultiTaskLoss(losses)(logits, target), grade_loss(logits))


def test_it_is_pickled_with_its_losses(logits, target, losses):
    loss = MultiTaskLoss(losses, {"grade": 2.0})
    torch.testing.assert_close(pickle.loads(pickle.dumps(loss))(logits, target), loss(logits, target))


def test_tasks_without_a_loss_or_a_target(logits, target, losses):
    with pytest.raises(ValueError, match="gives the task grade, but there are losses of segmentation"):
        MultiTaskLoss({"segmentation": losses["segmentation"]})(logits, target)
    del target["segmentation"]
    with pytest.raises(ValueError, match="gives the task segmentation, but there are targets of grade"):
        MultiTaskLoss(losses)(logits, target)


def test_networks_that_give_no_dict(logits, target, losses):
    with pytest.raises(ValueError, match="a dict of logits by task, not a Tensor"):
        MultiTaskLoss(losses)(logits["grade"], target)
    with pytest.raises(ValueError, match="a dict of logits by task, not an empty one"):
        MultiTaskLoss(losses)({}, target)


def test_weights_of_no_task(losses):
    with pytest.raises(ValueError, match="weights names grading"):
        MultiTaskLoss(losses, {"grading": 1.0})
