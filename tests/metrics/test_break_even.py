"""Break-even points against every distinct score tried as a threshold, and against scikit-learn's curve."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_curve

from tinylesions.metrics import PixelBreakEvenMetric, break_even, score_bins, score_histogram
from tinylesions.metrics.score_histogram import COARSE_BINS, SCORE_BINS, bin_edges, merge_bins

from .cases import (
    all_equal,
    eleven_levels,
    near_zero,
    perfect,
    photos,
    piled_at_both_ends,
    truth_of,
    uniform,
    wrong_way_round,
)

NAN = float("nan")


def ours(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    point = break_even(score_histogram(torch.as_tensor(scores), torch.as_tensor(truth)))
    assert all(value.dtype == torch.float64 and value.shape == () for value in point)
    return tuple(value.item() for value in point)  # type: ignore[return-value]


def literal(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Every distinct score is a threshold; fractions, so that equal is equal."""
    order = np.argsort(-scores, kind="stable")
    ranked = list(zip(scores[order].tolist(), truth[order].tolist(), strict=True))
    every, found, best = int(truth.sum()), 0, None
    for predicted, (score, is_class) in enumerate(ranked, start=1):
        found += int(is_class)
        if found and (predicted == len(ranked) or ranked[predicted][0] < score):
            precision, recall = Fraction(found, predicted), Fraction(found, every)
            merit = (-abs(precision - recall), precision + recall, score)
            if best is None or merit > best[0]:
                best = merit, precision, recall
    assert best is not None
    return float(best[1]), float(best[2]), best[0][2]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scores_of", [uniform, eleven_levels, piled_at_both_ends, near_zero, all_equal, perfect])
def test_against_every_threshold(scores_of: Callable, seed: int):
    """Of scores that begin a bin each, where nothing is rounded."""
    rng = np.random.default_rng(seed)
    truth = truth_of(rng)
    scores = bin_edges(score_bins(torch.from_numpy(np.float32(scores_of(rng, truth))))).numpy()
    assert ours(scores, truth) == literal(scores, truth)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scores_of", [uniform, piled_at_both_ends, near_zero])
def test_against_scikit_learn(scores_of: Callable, seed: int):
    """Of any scores, the narrow bins cost next to nothing; at the threshold found, P and R are exact."""
    rng = np.random.default_rng(seed)
    truth = truth_of(rng, 0.1)
    scores = np.float32(scores_of(rng, truth))
    precision, recall, threshold = ours(scores, truth)
    predicted = np.float64(scores) >= threshold
    assert precision == (predicted & truth).sum() / predicted.sum()
    assert recall == (predicted & truth).sum() / truth.sum()

    precisions, recalls, thresholds = precision_recall_curve(truth, scores)
    place = np.where(recalls[:-1] > 0, np.abs(precisions - recalls)[:-1], np.inf).argmin()
    assert (precision, recall) == pytest.approx((precisions[place], recalls[place]), abs=2e-3)
    assert threshold == pytest.approx(thresholds[place], rel=1e-2)


@pytest.mark.parametrize("seed", range(40))
def test_few_pixels_with_many_ties(seed):
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 14)
    truth = rng.random(count) < 0.5
    truth[rng.integers(count)] = True
    scores = np.float32(rng.integers(0, 5, count) / 4)
    assert ours(scores, truth) == literal(scores, truth)


@pytest.mark.parametrize(
    ("scores", "truth", "expected"),
    [
        # P, R = 1, 1/2; 1/2, 1/2; 2/3, 1
        ([0.75, 0.5, 0.25], [1, 0, 1], (1 / 2, 1 / 2, 0.5)),
        # |P − R| is 1/2 twice: 1, 1/2 and 1/2, 1; the higher threshold of equal sums
        ([0.75, 0.5, 0.5, 0.5], [1, 1, 0, 0], (1, 1 / 2, 0.75)),
        # |P − R| is 1/4 twice: 1/2, 1/4 and 1/2, 3/4; the higher sum, at the lower threshold
        ([0.75, 0.75, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25], [1, 0, 1, 1, 0, 0, 1, 0], (1 / 2, 3 / 4, 0.5)),
        # a false alarm above all has P = R = 0, which is no break-even point
        ([0.75, 0.5, 0.25], [0, 1, 0], (1 / 2, 1, 0.5)),
        # all predicted
        ([0.0, 0.0], [1, 0], (1 / 2, 1, 0.0)),
        ([1.0, 1.0, 0.0], [1, 1, 0], (1, 1, 1.0)),
    ],
)
def test_examples_by_hand(scores, truth, expected):
    assert ours(np.array(scores), np.array(truth)) == expected


def test_wrong_way_round_predicts_everything():
    truth = truth_of(np.random.default_rng(0))
    assert ours(wrong_way_round(np.random.default_rng(0), truth), truth) == (truth.mean(), 1, 0)


def test_batches_and_absent_classes():
    rng = np.random.default_rng(5)
    truths = [truth_of(rng), np.zeros(40_000), truth_of(rng, 0.3)]
    scores = [uniform(rng, truth).astype(np.float32) for truth in truths]
    pairs = list(zip(map(torch.from_numpy, scores), map(torch.from_numpy, truths), strict=True))
    histograms = torch.stack([score_histogram(*pair) for pair in pairs])
    point = break_even(histograms.unflatten(0, (3, 1)))
    assert all(values.shape == (3, 1) for values in point)
    for row, (score, truth) in enumerate(zip(scores, truths, strict=True)):
        expected = ours(score, truth) if row != 1 else (NAN, NAN, NAN)
        assert [float(values[row, 0]) for values in point] == pytest.approx(expected, abs=0, nan_ok=True)
    empty = break_even(torch.zeros(2, SCORE_BINS, dtype=torch.int64))
    assert all(value.isnan() for value in empty)


def test_merged_bins():
    """The threshold is still a score: P and R at it are those of all pixels."""
    rng = np.random.default_rng(6)
    truth = truth_of(rng, 0.1)
    scores = np.float32(uniform(rng, truth))
    histogram = merge_bins(score_histogram(torch.from_numpy(scores), torch.from_numpy(truth)))
    assert histogram.shape[-1] == COARSE_BINS
    precision, recall, threshold = (float(value) for value in break_even(histogram))
    predicted = scores >= threshold
    assert precision == (predicted & truth).sum() / predicted.sum()
    assert recall == (predicted & truth).sum() / truth.sum()
    assert precision == pytest.approx(ours(scores, truth)[0], abs=0.01)


@pytest.mark.parametrize("with_mask", [False, True])
def test_metric_pools_the_photos_of_all_calls(with_mask):
    scores, truth, mask = photos(5)
    metric = PixelBreakEvenMetric()
    for part in (slice(0, 2), slice(2, 5)):
        metric(scores[part], truth[part], **({"mask": mask[part]} if with_mask else {}))
    point = metric.aggregate()
    for channel in range(4):
        s, t = scores[:, channel].flatten().numpy(), truth[:, channel].flatten().numpy() > 0
        inside = mask[:, 0].flatten().numpy() > 0 if with_mask else np.ones_like(t)
        counted = inside | t
        expected = literal(np.where(inside, s, 0)[counted], t[counted])
        assert tuple(float(values[channel]) for values in point) == expected


def test_metric_without_photos():
    with pytest.raises(ValueError, match="no photo was given yet, there is no break-even"):
        PixelBreakEvenMetric().aggregate()
