"""Counts and areas at a few thresholds against NumPy, scikit-learn and torchmetrics."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import auc, precision_recall_curve

from tinylesions.metrics.score_histogram import merge_bins, score_histogram
from tinylesions.metrics.threshold_curves import counts_above, counts_at_least, curve_area

from .cases import M2MRF11, m2mrf11_of, near_zero, piled_at_both_ends, truth_of, uniform


def around_thresholds() -> torch.Tensor:
    """Every threshold of both protocols, and float32's next numbers on both sides of it."""
    thresholds = torch.cat([torch.arange(33) / 32, torch.from_numpy(M2MRF11)])
    neighbours = [torch.nextafter(thresholds, torch.full_like(thresholds, end)) for end in (0, 1)]
    return torch.cat([thresholds, *neighbours])


def scores_and_truth(seed: int, scores_of=uniform) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    truth = truth_of(rng, 0.2)
    scores = torch.from_numpy(np.float32(scores_of(rng, truth)))
    edges = around_thresholds().repeat(3)
    scores[: len(edges)] = edges
    return scores, torch.from_numpy(truth)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("scores_of", [uniform, piled_at_both_ends, near_zero])
def test_counts_at_least_are_exact(scores_of, merged):
    scores, truth = scores_and_truth(0, scores_of)
    histogram = score_histogram(scores, truth)
    found = counts_at_least(merge_bins(histogram) if merged else histogram)
    expected = [[int((scores[truth == t] >= k / 32).sum()) for k in range(33)] for t in (False, True)]
    assert found.tolist() == expected


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scores_of", [uniform, piled_at_both_ends, near_zero])
def test_counts_above_are_exact(monkeypatch, scores_of, masked):
    scores, truth = scores_and_truth(1, scores_of)
    mask = torch.from_numpy(np.random.default_rng(2).random(len(scores)) < 0.7) if masked else None
    inside = scores if mask is None else torch.where(mask, scores, 0)
    expected = [[int((inside[truth == t].numpy() > threshold).sum()) for threshold in M2MRF11] for t in (False, True)]
    assert counts_above(scores, truth, mask).tolist() == expected
    monkeypatch.setattr(sys.modules[merge_bins.__module__], "_CHUNK", 999)
    assert counts_above(scores, truth, mask).tolist() == expected


def test_counts_above_of_high_scores_only():
    """No threshold leaves fewer pixels to look at."""
    scores, truth = torch.tensor([0.95, 1.0, 0.93, 0.99]), torch.tensor([1, 0, 0, 1])
    assert counts_above(scores, truth).tolist() == [[2] * 10 + [0], [2] * 10 + [0]]


def idrid33_area(scores: torch.Tensor, truth: torch.Tensor) -> float:
    counts = counts_at_least(score_histogram(scores, truth))
    return float(curve_area(counts, counts[1, 0]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scores_of", [uniform, piled_at_both_ends, near_zero])
def test_idrid33_against_scikit_learn(scores_of, seed):
    """Scores rounded down to 1/32 have these thresholds and no others; scikit-learn leaves out the empty ones."""
    scores, truth = scores_and_truth(seed, scores_of)
    for factor in (1, 0.6):
        precision, recall, _ = precision_recall_curve(truth, (factor * scores * 32).floor() / 32)
        assert idrid33_area(factor * scores, truth) == pytest.approx(auc(recall, precision), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_idrid33_against_torchmetrics(seed):
    """torchmetrics has precision 0 at thresholds that nothing reaches: here, some scores are 1."""
    curve = pytest.importorskip("torchmetrics.classification").BinaryPrecisionRecallCurve(thresholds=33)
    scores, truth = scores_and_truth(seed)
    precision, recall, thresholds = curve(scores, truth.int())
    assert thresholds.tolist() == [k / 32 for k in range(33)]
    expected = -torch.trapezoid(precision.double(), recall.double())
    assert idrid33_area(scores, truth) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scores_of", [uniform, piled_at_both_ends, near_zero])
def test_m2mrf11_against_a_literal_reference(scores_of, seed):
    scores, truth = scores_and_truth(seed, scores_of)
    for factor in (1, 0.6):
        found = curve_area(counts_above(factor * scores, truth), truth.sum())
        assert float(found) == pytest.approx(m2mrf11_of((factor * scores).numpy(), truth.numpy()), abs=1e-12)


def test_ends_of_the_curve():
    """Nothing above any threshold: area 0. A perfect mask, whatever its score: 1. No pixel of the class: NaN."""
    truth = torch.tensor([1, 1, 0, 0])
    assert curve_area(counts_above(torch.zeros(4), truth), truth.sum()) == 0
    for score in (0.05, 0.55, 1.0):
        assert curve_area(counts_above(score * truth, truth), truth.sum()) == 1
    # at threshold 0 everything is predicted, and recall 1 costs precision
    assert idrid33_area(torch.zeros(4), truth) == pytest.approx((0.5 + 1) / 2)
    nothing = torch.zeros(4)
    assert np.isnan(idrid33_area(torch.rand(4), nothing))
    assert curve_area(counts_above(torch.rand(4), nothing), nothing.sum()).isnan()
