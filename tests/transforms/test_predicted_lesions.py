from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tinylesions.datasets.lesions import CLASSES, LESIONS
from tinylesions.transforms.predicted_lesions import (
    label_map_of_sigmoid,
    label_map_of_softmax,
    masks_of_label_map,
    masks_of_sigmoid,
)


def test_softmax_takes_the_largest():
    probabilities = torch.rand(6, 30, 40, generator=torch.Generator().manual_seed(0)).softmax(dim=0)
    probabilities[:, 0, 0] = 1 / 6
    label_map, lesions = label_map_of_softmax(probabilities)
    np.testing.assert_array_equal(label_map.numpy(), probabilities.numpy().argmax(axis=0))
    assert label_map.dtype == torch.uint8
    assert torch.equal(lesions, torch.stack([probabilities[CLASSES.index(lesion)] for lesion in LESIONS]))


def test_softmax_without_black_background():
    probabilities = torch.rand(5, 30, 40, generator=torch.Generator().manual_seed(0)).softmax(dim=0)
    label_map, lesions = label_map_of_softmax(probabilities, CLASSES[:5])
    np.testing.assert_array_equal(label_map.numpy(), probabilities.numpy().argmax(axis=0))
    assert torch.equal(lesions, probabilities[1:])
    with pytest.raises(ValueError, match="zip"):
        label_map_of_softmax(probabilities)


@pytest.mark.parametrize(
    "lesions", [("microaneurysm", "haemorrhage"), ("soft_exudate", "microaneurysm", "haemorrhage"), ("haemorrhage",)]
)
def test_sigmoid_against_a_loop(lesions):
    probabilities = torch.rand(len(lesions), 20, 30, generator=torch.Generator().manual_seed(0))
    probabilities[:, 0, 0] = 0.5
    probabilities[:, 0, 1] = 0.4999
    label_map, kept = label_map_of_sigmoid(probabilities, lesions)
    assert kept is probabilities
    assert label_map.dtype == torch.uint8
    for y in range(20):
        for x in range(30):
            values = probabilities[:, y, x].tolist()
            most = lesions[values.index(max(values))]
            assert CLASSES[label_map[y, x]] == (most if max(values) >= 0.5 else "other")


def test_masks_against_a_loop():
    probabilities = torch.rand(3, 12, 17, generator=torch.Generator().manual_seed(0))
    probabilities[:, 0, 0] = 0.5
    probabilities[:, 0, 1] = 0.4999
    masks = masks_of_sigmoid(probabilities)
    assert masks.dtype == torch.bool
    assert masks[:, 0, 0].all()
    assert masks.tolist() == [
        [[value >= 0.5 for value in row] for row in channel] for channel in probabilities.tolist()
    ]
    assert (masks.sum(dim=0) > 1).any()


@pytest.mark.parametrize("lesions", [LESIONS, ("soft_exudate", "microaneurysm")])
def test_masks_of_a_label_map(lesions):
    label_map = np.random.default_rng(0).integers(0, len(CLASSES), (9, 13), dtype=np.uint8)
    masks = masks_of_label_map(label_map, lesions)
    assert (masks.dtype, masks.shape) == (bool, (len(lesions), 9, 13))
    for number, y, x in np.ndindex(masks.shape):
        assert masks[number, y, x] == (CLASSES[label_map[y, x]] == lesions[number])


def test_what_is_no_number_is_no_lesion():
    assert not masks_of_sigmoid(torch.full((2, 1, 1), float("nan"))).any()
    label_map, _ = label_map_of_sigmoid(torch.full((2, 1, 1), float("nan")), ("microaneurysm", "haemorrhage"))
    assert CLASSES[label_map.item()] == "other"


def log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability)) if probability < 1 else math.inf


THRESHOLDS = (0.3, 0.8, 0.05)


def test_own_thresholds_against_a_loop():
    probabilities = torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(0)) ** 2
    probabilities[:, 0, 0] = torch.tensor(THRESHOLDS)
    probabilities[:, 0, 1] = torch.tensor(THRESHOLDS) - 1e-6
    probabilities[:, 0, 2] = torch.tensor([0.6, 0.999, 1.0])
    lesions = ("haemorrhage", "soft_exudate", "microaneurysm")
    label_map, kept = label_map_of_sigmoid(probabilities, lesions, THRESHOLDS)
    masks = masks_of_sigmoid(probabilities, THRESHOLDS)
    assert kept is probabilities
    assert (masks.dtype, label_map.dtype) == (torch.bool, torch.uint8)
    found = set()
    for y, x in np.ndindex(30, 40):
        values = probabilities[:, y, x].tolist()
        reached = [value >= np.float32(threshold) for value, threshold in zip(values, THRESHOLDS, strict=True)]
        assert masks[:, y, x].tolist() == reached
        above = [log_odds(value) - log_odds(threshold) for value, threshold in zip(values, THRESHOLDS, strict=True)]
        if (y, x) != (0, 0):  # there all are equal, but for rounding
            best = max((number for number in range(3) if reached[number]), key=above.__getitem__, default=None)
            assert CLASSES[label_map[y, x]] == ("other" if best is None else lesions[best])
        found.add(CLASSES[label_map[y, x]])
    assert found == {"other", *lesions}


def test_thresholds_of_a_half_are_the_default():
    probabilities = torch.rand(4, 60, 70, generator=torch.Generator().manual_seed(1))
    expected, _ = label_map_of_sigmoid(probabilities, LESIONS)
    assert torch.equal(label_map_of_sigmoid(probabilities, LESIONS, [0.5] * 4)[0], expected)
    assert torch.equal(masks_of_sigmoid(probabilities, [0.5] * 4), masks_of_sigmoid(probabilities))


def test_thresholds_of_any_size_and_no_number():
    values = torch.tensor([[[1e-9, 1e-10, 1.0, float("nan")]]])
    label_map, _ = label_map_of_sigmoid(values, ["haemorrhage"], [1e-9])
    assert [CLASSES[index] == "haemorrhage" for index in label_map[0].tolist()] == [True, False, True, False]
    assert masks_of_sigmoid(values, [1e-9]).flatten().tolist() == [True, False, True, False]
    with pytest.raises(ValueError, match="zip"):
        masks_of_sigmoid(values, [0.5, 0.5])
