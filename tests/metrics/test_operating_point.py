"""The threshold of the highest Dice against scikit-learn's F1 at every distinct score."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, precision_score, recall_score

from tinylesions.metrics import OperatingPointMetric, best_dice_threshold, score_bins, score_histogram
from tinylesions.metrics.score_histogram import SCORE_BINS, bin_edges, merge_bins

from .cases import photos


def ours(scores: np.ndarray, truth: np.ndarray) -> list[float]:
    point = best_dice_threshold(score_histogram(torch.as_tensor(scores), torch.as_tensor(truth)))
    assert all(value.dtype == torch.float64 and value.shape == () for value in point)
    return [value.item() for value in point]


def literal(scores: np.ndarray, truth: np.ndarray) -> list[float]:
    """Every distinct score above 0 (just below 1 for 1) is tried, the highest first; a later one has to be better."""
    best, threshold = -1.0, math.nan
    below_one = float(np.nextafter(np.float32(1), np.float32(0)))
    for candidate in sorted({min(score, below_one) for score in scores[scores > 0].tolist()}, reverse=True):
        dice = f1_score(truth, scores >= candidate)
        if dice > best + 1e-12:
            best, threshold = dice, candidate
    predicted = scores >= threshold
    at_half = f1_score(truth, scores >= 0.5, zero_division=0)
    return [threshold, best, precision_score(truth, predicted), recall_score(truth, predicted), at_half]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_against_every_threshold(seed, shift):
    """Of scores that begin a bin each, where nothing is rounded."""
    rng = np.random.default_rng(seed)
    truth = rng.random(50) < 0.3
    drawn = np.float32(np.clip(rng.random(50) + shift * truth, 0, 1) ** (1 + 2 * seed))
    scores = bin_edges(score_bins(torch.from_numpy(drawn))).numpy()
    assert ours(scores, truth) == pytest.approx(literal(scores, truth), rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_few_pixels_with_many_ties(seed):
    rng = np.random.default_rng(seed)
    count = rng.integers(2, 14)
    truth = rng.random(count) < 0.5
    scores = np.float32(rng.integers(0, 5, count) / 4)
    place = rng.integers(count)
    truth[place], scores[place] = True, 0.25
    assert ours(scores, truth) == pytest.approx(literal(scores, truth), rel=1e-12)


@pytest.mark.parametrize(
    ("scores", "truth", "expected"),
    [
        # found, predicted: 1, 1; 1, 2; 2, 3
        ([0.75, 0.5, 0.25], [1, 0, 1], [0.25, 4 / 5, 2 / 3, 1, 1 / 2]),
        # Dice is 2/3 twice: 2 · 1 / (1 + 2) and 2 · 2 / (4 + 2); the higher threshold
        ([0.75, 0.25, 0.25, 0.25], [1, 1, 0, 0], [0.75, 2 / 3, 1, 1 / 2, 2 / 3]),
        # a pixel of score 0 is found by no threshold
        ([0.25, 0.0], [1, 1], [0.25, 2 / 3, 1, 1 / 2, 0]),
        ([1.0, 1.0, 0.0], [1, 1, 0], [1 - 2**-24, 1, 1, 1, 1]),
    ],
)
def test_examples_by_hand(scores, truth, expected):
    assert ours(np.array(scores), np.array(truth)) == pytest.approx(expected, rel=1e-12)


def test_a_lesion_that_no_threshold_finds():
    assert ours(np.array([0.0, 0.75]), np.array([1, 0])) == pytest.approx([math.nan, 0, 0, 0, 0], nan_ok=True)


def test_merged_bins():
    """The threshold is still a score: the figures are those of the pixels at it."""
    rng = np.random.default_rng(6)
    truth = rng.random(2000) < 0.1
    scores = np.float32(np.clip(0.6 * rng.random(2000) + 0.4 * truth * rng.random(2000), 0, 1))
    histogram = merge_bins(score_histogram(torch.from_numpy(scores), torch.from_numpy(truth)))
    threshold, dice, precision, recall, at_half = (float(value) for value in best_dice_threshold(histogram))
    predicted = scores >= threshold
    expected = [f(truth, predicted) for f in (f1_score, precision_score, recall_score)]
    assert [dice, precision, recall] == pytest.approx(expected, rel=1e-12)
    assert at_half == pytest.approx(f1_score(truth, scores >= 0.5), rel=1e-12)
    assert dice == pytest.approx(ours(scores, truth)[1], abs=0.01)


@pytest.mark.parametrize("with_mask", [False, True])
def test_metric_pools_the_photos_of_all_calls(with_mask):
    """As many calls as processes: the histograms are what adds up."""
    scores, truth, mask = photos(3)
    scores, truth, mask = scores[..., :4, :4], truth[..., :4, :4], mask[..., :4, :4]
    truth[:, 2] = 0
    metric = OperatingPointMetric()
    for part in (slice(0, 1), slice(1, 3)):
        metric(scores[part], truth[part], **({"mask": mask[part]} if with_mask else {}))
    point = metric.aggregate()
    for channel in range(4):
        found = [float(values[channel]) for values in point]
        s, t = scores[:, channel].flatten().numpy(), truth[:, channel].flatten().numpy() > 0
        inside = mask[:, 0].flatten().numpy() > 0 if with_mask else np.ones_like(t)
        counted = inside | t
        if channel == 2:
            assert all(math.isnan(value) for value in found)
        else:
            assert found == pytest.approx(literal(np.where(inside, s, 0)[counted], t[counted]), rel=1e-12)


def test_without_pixels_or_photos():
    assert all(value.isnan() for value in best_dice_threshold(torch.zeros(2, SCORE_BINS, dtype=torch.int64)))
    with pytest.raises(ValueError, match="no photo was given yet, there is no operating point"):
        OperatingPointMetric().aggregate()
