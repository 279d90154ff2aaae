"""Sums of losses: the paper's, in all types that a training hands over."""

from __future__ import annotations

import warnings
from itertools import combinations

import pytest
import torch
from monai.data import MetaTensor
from monai.losses import DiceLoss, TverskyLoss

from tinylesions.losses import (
    CompoundLoss,
    CrossEntropyLoss,
    MeanDeepSupervisionLoss,
    OnlineBootstrappingLoss,
    PixelFocalLoss,
)

MULTI_CLASS = {
    "cross_entropy": CrossEntropyLoss(),
    "focal": PixelFocalLoss([0.1, 0.2, 0.3, 0.4]),
    "online_bootstrapping": OnlineBootstrappingLoss(20),
    "dice": DiceLoss(to_onehot_y=True, softmax=True),
    "tversky": TverskyLoss(to_onehot_y=True, softmax=True, alpha=0.3, beta=0.7),
}
BINARY = {
    "focal": PixelFocalLoss([0.2, 0.8]),
    "online_bootstrapping": OnlineBootstrappingLoss(20),
    "dice": DiceLoss(sigmoid=True),
    "tversky": TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7),
}


@pytest.fixture
def logits():
    return 3 * torch.randn(2, 4, 8, 9, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels():
    """Of classes 0 to 2; nothing is of class 3."""
    return torch.randint(0, 3, (2, 1, 8, 9), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def literal_dice(probability, truth, alpha=0.5, beta=0.5):
    """1 − TP / (TP + α FP + β FN) of every image and class, equations 2.6, 2.9 to 2.11, in mean."""
    losses = []
    for image in range(len(truth)):
        for channel in range(truth.shape[1]):
            p, y = probability[image, channel].double(), truth[image, channel].double()
            hit, false, missed = (p * y).sum(), (p * (1 - y)).sum(), ((1 - p) * y).sum()
            losses.append(float(1 - (hit + 1e-5) / (hit + alpha * false + beta * missed + 1e-5)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("names", [*combinations(MULTI_CLASS, 2), tuple(MULTI_CLASS), ("dice",)])
def test_the_sum(logits, labels, names):
    leaf, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = CompoundLoss({name: MULTI_CLASS[name] for name in names})(leaf, labels)
    value.backward()
    values = []
    for name in names:
        part = MULTI_CLASS[name](other, labels)
        part.backward()
        values.append(part.item())
    assert value.item() == pytest.approx(sum(values), rel=1e-6)
    torch.testing.assert_close(leaf.grad, other.grad)


def test_the_region_losses_are_the_papers(logits, labels):
    truth = torch.zeros_like(logits).scatter_(1, labels.long(), 1)
    probability = logits.softmax(1)
    expected = literal_dice(probability, truth)
    assert CompoundLoss({"dice": MULTI_CLASS["dice"]})(logits, labels).item() == pytest.approx(expected, abs=1e-5)
    expected = literal_dice(probability, truth, 0.3, 0.7)
    assert CompoundLoss({"tversky": MULTI_CLASS["tversky"]})(logits, labels).item() == pytest.approx(expected, abs=1e-5)
    logits, labels = logits[:, :1], labels.clamp(max=1)
    expected = literal_dice(logits.sigmoid(), labels)
    assert CompoundLoss({"dice": BINARY["dice"]})(logits, labels).item() == pytest.approx(expected, abs=1e-5)
    expected = literal_dice(logits.sigmoid(), labels, 0.3, 0.7)
    assert CompoundLoss({"tversky": BINARY["tversky"]})(logits, labels).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_whole_tiles(channels, dtype):
    """Of a tile that is all nuclei and so predicted: float16 sums of Dice alone are no numbers."""
    logits = torch.full((2, channels, 512, 512), -5.0, dtype=dtype)
    logits[:, -1] = 5
    labels = torch.full((2, 1, 512, 512), max(channels - 1, 1), dtype=torch.uint8)
    losses = MULTI_CLASS if channels > 1 else BINARY
    leaf = logits.requires_grad_()
    value = CompoundLoss(losses)(leaf, MetaTensor(labels))
    value.backward()
    assert value.dtype == torch.float32
    expected = CompoundLoss(losses)(logits.detach().float(), labels)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
@pytest.mark.parametrize("binary", [False, True])
def test_label_maps_of_any_type(logits, labels, binary, dtype):
    losses = BINARY if binary else MULTI_CLASS
    logits = logits[:, :1] if binary else logits
    labels = labels.clamp(max=1) if binary else labels
    expected = sum(float(loss(logits, labels.long())) for loss in losses.values())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = CompoundLoss(losses)(MetaTensor(logits), MetaTensor(labels.to(dtype)))
    assert type(value) is torch.Tensor
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_all_background_is_finite(logits):
    labels = torch.zeros(2, 1, 8, 9, dtype=torch.uint8)
    for losses, channels in ((MULTI_CLASS, 4), (BINARY, 1)):
        for size in (1, 50):
            leaf = (size * logits[:, :channels]).requires_grad_()
            value = CompoundLoss(losses)(leaf, labels)
            value.backward()
            assert value.isfinite()
            assert leaf.grad.isfinite().all()


def test_with_deep_supervision(logits, labels):
    heads = torch.stack([logits, logits.flip(1)], 1)
    loss = CompoundLoss(MULTI_CLASS)
    expected = (loss(logits, labels) + loss(logits.flip(1), labels)) / 2
    torch.testing.assert_close(MeanDeepSupervisionLoss(loss)(heads, labels), expected)


def test_no_losses():
    with pytest.raises(ValueError, match="names none"):
        CompoundLoss({})


@pytest.mark.parametrize("weights", [{"dice": 0.25}, {"focal": 40, "dice": 0}, dict.fromkeys(MULTI_CLASS, 2.0)])
def test_weights(logits, labels, weights):
    leaf, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = CompoundLoss(MULTI_CLASS, weights)(leaf, labels)
    value.backward()
    expected = 0.0
    for name, loss in MULTI_CLASS.items():
        part = weights.get(name, 1) * loss(other, labels)
        part.backward()
        expected += part.item()
    assert value.item() == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(leaf.grad, other.grad)
    assert value.item() != pytest.approx(CompoundLoss(MULTI_CLASS)(logits, labels).item(), rel=1e-3)


def test_a_weight_of_no_loss():
    with pytest.raises(ValueError, match=r"losses are \['focal', .* weights of .*'hinge'"):
        CompoundLoss(BINARY, {"hinge": 2.0})
