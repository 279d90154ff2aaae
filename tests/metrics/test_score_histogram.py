"""Average precision from histograms against scikit-learn's, which holds and sorts every score."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from tinylesions.metrics import average_precision, score_bins, score_histogram
from tinylesions.metrics.score_histogram import COARSE_BINS, SCORE_BINS, bin_edges, merge_bins

from .cases import (
    PIXELS,
    all_equal,
    eleven_levels,
    near_zero,
    perfect,
    piled_at_both_ends,
    truth_of,
    uniform,
    wrong_way_round,
)


def ours(scores: np.ndarray, truth: np.ndarray) -> float:
    return float(average_precision(score_histogram(torch.as_tensor(scores), torch.as_tensor(truth))))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("scores_of", "tolerance"),
    [
        (uniform, 1e-5),
        (eleven_levels, 1e-12),
        (piled_at_both_ends, 3e-5),
        (near_zero, 3e-5),
        (all_equal, 1e-12),
        (perfect, 1e-12),
        (wrong_way_round, 1e-12),
    ],
)
def test_against_scikit_learn(scores_of: Callable, tolerance: float, seed: int):
    rng = np.random.default_rng(seed)
    truth = truth_of(rng)
    scores = np.float32(scores_of(rng, truth))
    assert ours(scores, truth) == pytest.approx(average_precision_score(truth, scores), abs=tolerance)


def test_perfect_is_one_and_all_equal_is_the_share():
    truth = truth_of(np.random.default_rng(0))
    assert ours(np.where(truth, 0.9, 0.1), truth) == 1
    assert ours(np.full(PIXELS, 0.7), truth) == pytest.approx(truth.mean(), abs=1e-12)


def test_absent_class_is_nan():
    assert np.isnan(ours(np.linspace(0, 1, 50), np.zeros(50)))
    empty = average_precision(torch.zeros(3, 2, SCORE_BINS, dtype=torch.int64))
    assert empty.shape == (3,)
    assert empty.isnan().all()


def test_literal_example():
    """Ranked 1, 0, 1: precision 1 at recall 1/2, 2/3 at recall 1."""
    assert ours(np.array([0.9, 0.8, 0.1]), np.array([1, 0, 1])) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3, abs=1e-12)


def test_histograms_add_up_whatever_the_order():
    rng = np.random.default_rng(4)
    truths = [truth_of(rng, share) for share in (0.3, 0.0, 0.02)]
    scores = [piled_at_both_ends(rng, truth) for truth in truths]
    histograms = [
        score_histogram(torch.from_numpy(s), torch.from_numpy(t)) for s, t in zip(scores, truths, strict=True)
    ]
    pooled = score_histogram(torch.from_numpy(np.concatenate(scores)), torch.from_numpy(np.concatenate(truths)))
    assert torch.equal(sum(histograms), pooled)
    shuffled = rng.permutation(PIXELS)
    assert torch.equal(
        score_histogram(torch.from_numpy(scores[2][shuffled]), torch.from_numpy(truths[2][shuffled])), histograms[2]
    )
    expected = average_precision_score(np.concatenate(truths), np.concatenate(scores))
    assert float(average_precision(pooled)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_mask_counts_misses_outside_and_no_false_alarm(seed):
    """As if every lesion pixel outside had score 0 and every other pixel there did not exist."""
    rng = np.random.default_rng(seed)
    truth, mask = truth_of(rng, 0.1), rng.random(PIXELS) < 0.7
    scores = np.float32(uniform(rng, truth))
    found = average_precision(*[score_histogram(*map(torch.from_numpy, (scores, truth, mask)))])
    counted = mask | truth
    expected = average_precision_score(truth[counted], np.where(mask, scores, 0)[counted])
    assert float(found) == pytest.approx(expected, abs=1e-4)

    # a perfect prediction inside has recall 1 only down to the pixels outside, which come after all others
    perfect_scores = torch.from_numpy(np.where(truth, 0.9, 0.1))
    found = float(average_precision(score_histogram(perfect_scores, torch.from_numpy(truth), torch.from_numpy(mask))))
    recall = (truth & mask).sum() / truth.sum()
    assert found == pytest.approx(recall + (1 - recall) * truth.sum() / counted.sum(), abs=1e-12)


def test_false_alarms_outside_change_nothing():
    rng = np.random.default_rng(7)
    truth, mask = truth_of(rng), torch.from_numpy(rng.random(PIXELS) < 0.5)
    scores = torch.from_numpy(uniform(rng, truth))
    alarmed = torch.where(mask, scores, 1.0)
    truth = torch.from_numpy(truth)
    assert torch.equal(score_histogram(scores, truth, mask), score_histogram(alarmed, truth, mask))


@pytest.mark.parametrize("wrong", [float("nan"), -1e-6, 1.0001, float("inf")])
def test_scores_that_are_no_probabilities_are_refused(wrong):
    scores = torch.tensor([0.1, wrong, 0.3])
    with pytest.raises(ValueError, match="NaN or values outside"):
        score_histogram(scores, torch.tensor([1, 0, 1]))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        score_histogram(torch.zeros(4), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="shapes differ"):
        score_histogram(torch.zeros(4), torch.zeros(4), torch.zeros(3))


EDGES = [0.0, -0.0, 5e-324, 1e-45, 1e-38, 2.0**-33, 2.0**-32, 0.25, 0.5, 1 - 2.0**-24, 1 - 2.0**-25, 1.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_bins_are_monotonous_and_in_range(dtype):
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(20_000, generator=generator, dtype=torch.float64)
    small = 2 ** (-40 * torch.rand(20_000, generator=generator, dtype=torch.float64))
    around_half = 0.5 + 1e-6 * (random - 0.5)
    scores = torch.cat([random, small, 1 - small, around_half, torch.tensor(EDGES, dtype=torch.float64)]).to(dtype)
    bins = score_bins(scores.sort().values)
    assert bins.dtype == torch.int32
    assert (bins.diff() >= 0).all()
    assert bins[0] == 0
    assert bins[-1] == score_bins(torch.ones(1)) < SCORE_BINS


def test_bins_are_narrow():
    """Two scores of one bin differ by 1/4096 of their distance from the nearer end, or by less."""
    scores = torch.cat([2 ** -torch.rand(200_000) * 2.0 ** -torch.randint(0, 20, (200_000,)), torch.rand(200_000)])
    scores = scores.sort().values
    together = score_bins(scores).diff() == 0
    low, high = scores[:-1][together].double(), scores[1:][together].double()
    distance = torch.minimum(high, 1 - low)
    assert together.sum() > 1000
    assert ((high - low) <= distance / 4096 + 2.0**-33).all()


def test_multiples_of_a_32nd_begin_a_bin():
    """Merged bins too; 0 shares its bin with scores nobody tells from it, 1 shares its bin with none."""
    scores = torch.arange(1, 33) / 32
    below = torch.nextafter(scores, torch.zeros(1))
    merged = SCORE_BINS // COARSE_BINS
    assert (score_bins(below) < score_bins(scores)).all()
    assert (score_bins(below) // merged < score_bins(scores) // merged).all()


def test_edges_are_the_inverse_of_bins():
    """The edge of every bin is in it, or in the next that has a score, and the next smaller float is not."""
    bins = torch.arange(SCORE_BINS)
    edges = bin_edges(bins)
    assert edges.dtype == torch.float32
    assert edges[0] == 0
    top = int(score_bins(torch.ones(1)))
    assert (edges[: top + 1] <= 1).all()
    assert edges[top] == 1
    assert (edges[top + 1 :] == torch.inf).all()
    assert (score_bins(edges[: top + 1]) >= bins[: top + 1]).all()
    assert (score_bins(torch.nextafter(edges[1 : top + 1], torch.zeros(1))) < bins[1 : top + 1]).all()
    # bins below 1/2 have a score each
    occupied = int(score_bins(torch.tensor([0.5])))
    assert torch.equal(score_bins(edges[:occupied]), bins[:occupied].int())


def test_edges_part_the_scores_as_bins_do():
    scores = torch.cat([torch.rand(300), 2 ** (-34 * torch.rand(300)), 1 - 2 ** (-25 * torch.rand(300))])
    bins = score_bins(scores)
    assert torch.equal(scores[:, None] >= bin_edges(bins), bins[:, None] >= bins)
    assert bin_edges(bins.view(3, 300)[:, :0]).shape == (3, 0)


def test_merged_bins_hold_the_same_pixels():
    rng = np.random.default_rng(3)
    truth = truth_of(rng)
    scores = torch.from_numpy(piled_at_both_ends(rng, truth))
    merged = merge_bins(score_histogram(scores, torch.from_numpy(truth)))
    assert merged.shape == (2, COARSE_BINS)
    expected, _ = np.histogram(score_bins(scores)[truth], bins=np.arange(0, SCORE_BINS + 1, SCORE_BINS // COARSE_BINS))
    assert merged[1].tolist() == expected.tolist()
    assert merged.sum() == PIXELS


@pytest.mark.parametrize("masked", [False, True])
def test_chunks_leave_no_trace(monkeypatch, masked):
    rng = np.random.default_rng(5)
    truth = truth_of(rng)
    parts = [torch.from_numpy(part) for part in (uniform(rng, truth), truth)]
    parts += [torch.from_numpy(rng.random(PIXELS) < 0.6)] if masked else []
    whole = score_histogram(*parts)
    monkeypatch.setattr(sys.modules[merge_bins.__module__], "_CHUNK", 777)
    assert torch.equal(score_histogram(*parts), whole)
    assert torch.equal(score_histogram(*(part.view(200, 200).T for part in parts)), whole)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_truth_and_mask_of_any_type(dtype):
    rng = np.random.default_rng(6)
    scores, truth, mask = torch.rand(500), torch.from_numpy(rng.random(500) < 0.4), torch.ones(500)
    mask[100:300] = 0
    expected = score_histogram(scores, truth, mask.bool())
    assert torch.equal(score_histogram(scores, (3 * truth).to(dtype), (255 * mask).to(dtype)), expected)


def test_no_pixels():
    assert score_histogram(torch.zeros(0), torch.zeros(0)).sum() == 0
