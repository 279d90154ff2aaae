"""Panoptic quality against MONAI's, against a literal pairing of nuclei, and against fractions worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import PanopticQualityMetric

from tinylesions.metrics import NucleiQualityMetric
from tinylesions.metrics.panoptic_quality import match_nuclei

CLASSES = 3


def tile(rng: np.random.Generator, size: int = 40, nuclei: int = 14, classes: int = CLASSES) -> np.ndarray:
    """Discs (2, H, W) that touch and cover one another, with ids that leave gaps."""
    rows, columns = np.mgrid[:size, :size]
    labels = np.zeros((2, size, size), np.int32)
    for number in range(nuclei):
        row, column = rng.integers(0, size, 2)
        disc = (rows - row) ** 2 + (columns - column) ** 2 < rng.integers(2, 6) ** 2
        labels[:, disc] = [[3 * number + 2], [rng.integers(1, classes + 1)]]
    return labels


def moved(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """A pixel aside, some nuclei missing, some of another class, some torn in two."""
    labels = np.roll(truth, 1, axis=2)
    for number in np.unique(labels[0])[1:]:
        nucleus = labels[0] == number
        lot = rng.random()
        if lot < 0.2:
            labels[:, nucleus] = 0
        elif lot < 0.4:
            labels[1, nucleus] = labels[1, nucleus] % CLASSES + 1
        elif lot < 0.6:
            labels[0, nucleus & (np.arange(labels.shape[1]) % 3 > 0)[:, None]] = 1000 + number
    return labels


def tiles(count: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    truth = [tile(rng) for _ in range(count)]
    predicted = [moved(rng, labels) for labels in truth]
    return torch.from_numpy(np.stack(predicted)), torch.from_numpy(np.stack(truth))


def literal_counts(predicted: np.ndarray, truth: np.ndarray, classes: int) -> list[list[float]]:
    """Every pair of nuclei of a class, as sets of pixels."""

    def nuclei(labels: np.ndarray, of_class: int) -> list[set[int]]:
        sets: dict[int, set[int]] = {}
        for pixel, (number, its_class) in enumerate(labels.reshape(2, -1).T.tolist()):
            if number and its_class == of_class:
                sets.setdefault(number, set()).add(pixel)
        return list(sets.values())

    rows = []
    for of_class in range(1, classes + 1):
        found, true = nuclei(predicted, of_class), nuclei(truth, of_class)
        ious = [len(a & b) / len(a | b) for a in found for b in true]
        matched = [iou for iou in ious if iou > 0.5]
        rows.append([len(matched), len(found) - len(matched), len(true) - len(matched), sum(matched)])
    return rows


def quality(counts: list[float]) -> float:
    matched, unmatched_predicted, unmatched_true, iou = counts
    nuclei = matched + unmatched_predicted / 2 + unmatched_true / 2
    return iou / nuclei if nuclei else math.nan


def measure(predicted, truth, classes: int = CLASSES, **settings) -> dict[str, list[float]]:
    metric = NucleiQualityMetric(classes, **settings)
    metric(predicted, truth)
    return metric.aggregate()["pq"].value.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_a_literal_pairing_and_of_monai(seed):
    predicted, truth = tiles(seed=seed)
    reference = PanopticQualityMetric(CLASSES, return_confusion_matrix=True, reduction="none")
    of_monai = reference(predicted, truth)
    for index, (found, true) in enumerate(zip(predicted.numpy(), truth.numpy(), strict=True)):
        counts = match_nuclei(found, true, CLASSES)
        assert counts.dtype == np.float64
        np.testing.assert_allclose(counts, literal_counts(found, true, CLASSES), atol=1e-12)
        np.testing.assert_allclose(counts, of_monai[index], atol=1e-5)
    assert of_monai.sum(0).min() > 0, "every kind of count occurs"


def test_classes_are_pooled_over_images_as_in_conic():
    predicted, truth = tiles()
    found = measure(predicted, truth)
    summed = np.sum([literal_counts(*pair, CLASSES) for pair in zip(predicted.numpy(), truth.numpy(), strict=True)], 0)
    expected = [quality(counts) for counts in summed]
    assert found[:CLASSES] == pytest.approx(expected, abs=1e-12)
    assert found[-1] == pytest.approx(np.mean(expected), abs=1e-12)
    reference = PanopticQualityMetric(CLASSES, metric_name="pq", reduction="mean_batch")
    reference(predicted, truth)
    np.testing.assert_allclose(found[:CLASSES], reference.aggregate(), atol=1e-5)
    # a mean of the images' qualities is something else
    of_images = [measure(predicted[[index]], truth[[index]])[0] for index in range(len(truth))]
    assert found[0] != pytest.approx(np.nanmean(of_images), abs=1e-3)


def test_foreground_is_the_mean_of_the_images_whatever_the_class():
    predicted, truth = tiles()
    empty = torch.zeros_like(truth[:1])
    expected = []
    for found, true in zip(predicted.numpy(), truth.numpy(), strict=True):
        of_one_class = [np.stack([labels[0], labels[0] > 0]) for labels in (found, true)]
        expected.append(quality(literal_counts(*of_one_class, 1)[0]))
    assert measure(predicted, truth)[CLASSES] == pytest.approx(np.mean(expected), abs=1e-12)
    # an image without nuclei counts only where some are predicted
    padded = torch.cat([predicted, empty]), torch.cat([truth, empty])
    assert measure(*padded)[CLASSES] == pytest.approx(np.mean(expected), abs=1e-12)
    alarm = torch.cat([predicted, truth[:1]]), torch.cat([truth, empty])
    assert measure(*alarm)[CLASSES] == pytest.approx(np.mean([*expected, 0]), abs=1e-12)
    # classes are not looked at where there are none
    predicted[:, 1] = (predicted[:, 0] > 0).int()
    alone = measure(predicted, truth, classes=0)
    assert alone[0] == pytest.approx(np.mean(expected), abs=1e-12)
    assert math.isnan(alone[1])


def test_values_worked_out_by_hand():
    """Three of four pixels found; a nucleus of another class; one of IoU exactly 1/2, which is no match."""
    truth = torch.tensor([[[1, 1, 1, 1, 0, 2, 2, 0, 3, 3]], [[1, 1, 1, 1, 0, 2, 2, 0, 1, 1]]])[None]
    predicted = torch.tensor([[[5, 5, 5, 0, 0, 7, 7, 0, 9, 0]], [[1, 1, 1, 0, 0, 1, 1, 0, 1, 0]]])[None]
    found = measure(predicted, truth)
    # class 1: one match of 3/4, two predicted nuclei too many, one missed
    assert found[:2] == pytest.approx([0.75 / (1 + 0.5 * 2 + 0.5), 0], abs=1e-12)
    assert math.isnan(found[2])
    assert found[3] == pytest.approx((0.75 + 1) / (2 + 0.5 + 0.5), abs=1e-12)
    assert found[4] == pytest.approx(0.75 / 2.5 / 2, abs=1e-12)


def test_truth_itself_has_quality_one():
    _, truth = tiles()
    assert measure(truth, truth) == pytest.approx([1] * (CLASSES + 2))
    full = torch.ones(1, 2, 4, 4, dtype=torch.int32)  # no background at all
    assert measure(full, full)[0] == 1


def test_nothing_anywhere_has_no_value():
    empty = torch.zeros(2, 2, 5, 5, dtype=torch.int32)
    assert np.isnan(measure(empty, empty)).all()


def test_intervals_are_those_of_sources_really_repeated():
    predicted, truth = tiles(8)
    names = ["b", "a", "c", "a", "b", "c", "d", "d"]
    metric = NucleiQualityMetric(CLASSES, replicates=40, seed=5)
    metric(predicted, truth, sources=names)
    estimate = metric.aggregate()["pq"]
    parts = [[index for index in range(8) if names[index] == name] for name in "abcd"]
    values = []
    for drawn in np.random.default_rng(5).multinomial(4, [1 / 4] * 4, size=40):
        repeated = [index for part, times in zip(parts, drawn, strict=True) for _ in range(times) for index in part]
        values.append(measure(predicted[repeated], truth[repeated], replicates=0))
    low, high = np.nanpercentile(values, [2.5, 97.5], axis=0)
    np.testing.assert_allclose(estimate.low, low, atol=1e-12)
    np.testing.assert_allclose(estimate.high, high, atol=1e-12)
    assert (estimate.low < estimate.value).all()
    assert (estimate.value < estimate.high).all()


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5), r"\(2, 4, 4\) and \(2, 4, 5\)"),
        (torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), r"one shape \(2, H, W\)"),
        (torch.full((1, 2, 4, 4), -1), torch.zeros(1, 2, 4, 4), "the prediction has negative numbers"),
        (torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 4), "the truth has negative numbers or classes above 3"),
    ],
)
def test_input_that_does_not_fit(predicted, truth, message):
    with pytest.raises(ValueError, match=message):
        NucleiQualityMetric(CLASSES)(predicted, truth)
