"""Average precision from histograms against scikit-learn's, which holds and sorts every score."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
from monai.data import MetaTensor
from sklearn.metrics import average_precision_score

from tinylesions.metrics import PixelAveragePrecisionMetric, average_precision, score_bins, score_histogram
from tinylesions.metrics.average_precision import SCORE_BINS

PIXELS = 40_000


def truth_of(rng: np.random.Generator, share: float = 0.02) -> np.ndarray:
    return rng.random(PIXELS) < share


def uniform(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.where(truth, rng.random(PIXELS) ** 0.3, rng.random(PIXELS))


def eleven_levels(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.round(uniform(rng, truth), 1)


def piled_at_both_ends(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """What a confident network gives: the sigmoid of logits to ±30, in float32."""
    logits = np.clip(rng.normal(np.where(truth, 0, -15), 8), -30, 30)
    return torch.sigmoid(torch.from_numpy(logits).float()).double().numpy()


def near_zero(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.float32(10.0 ** np.where(truth, rng.uniform(-7, -1, PIXELS), rng.uniform(-9, -2, PIXELS)))


def all_equal(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.full(PIXELS, 0.3)


def perfect(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.where(truth, 0.5, 0.4999)


def wrong_way_round(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.where(truth, 0.0, 1.0)


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
    assert bins.dtype == torch.int64
    assert (bins.diff() >= 0).all()
    assert bins[0] == 0
    assert bins[-1] == SCORE_BINS - 1


def test_bins_are_narrow():
    """Two scores of one bin differ by 1/4096 of their distance from the nearer end, or by less."""
    scores = torch.cat([2 ** -torch.rand(200_000) * 2.0 ** -torch.randint(0, 20, (200_000,)), torch.rand(200_000)])
    scores = scores.sort().values
    together = score_bins(scores).diff() == 0
    low, high = scores[:-1][together].double(), scores[1:][together].double()
    distance = torch.minimum(high, 1 - low)
    assert together.sum() > 1000
    assert ((high - low) <= distance / 4096 + 2.0**-33).all()


def photos(count: int, seed: int = 0, heads: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(count, 4, 20, 30, generator=generator) < 0.2).to(torch.uint8)
    scores = torch.rand(count, heads * 4, 20, 30, generator=generator)
    scores = (scores + 0.3 * truth.repeat(1, heads, 1, 1)) / 1.3
    # multiples of 1/1024 have a bin each, so that few pixels are scored exactly too
    return (
        (scores * 1024).round() / 1024,
        truth,
        (torch.rand(count, 1, 20, 30, generator=generator) < 0.8).to(torch.uint8),
    )


def scikit_learn_of(scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> list[float]:
    values = []
    for channel in range(scores.shape[1]):
        s, t = scores[:, channel].flatten(), truth[:, channel % truth.shape[1]].flatten() > 0
        inside = torch.ones_like(t) if mask is None else mask[:, 0].flatten() > 0
        counted = inside | t
        values.append(average_precision_score(t[counted], torch.where(inside, s, 0)[counted]))
    return values


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
def test_metric_pools_the_photos_of_all_calls(heads, with_mask):
    scores, truth, mask = photos(5, heads=heads)
    options = [{"mask": part} if with_mask else {} for part in (mask[:2], list(mask[2:]))]
    metric = PixelAveragePrecisionMetric()
    metric(scores[:2], truth[:2], **options[0])
    metric.aggregate()  # asked for too early, which must not freeze it
    metric(list(scores[2:]), list(truth[2:]), **options[1])
    found = metric.aggregate()
    assert found.shape == (4 * heads,)
    expected = scikit_learn_of(scores, truth, mask if with_mask else None)
    np.testing.assert_allclose(found, expected, atol=1e-12)

    metric.reset()
    metric(scores[4:], truth[4:])
    np.testing.assert_allclose(metric.aggregate(), scikit_learn_of(scores[4:], truth[4:]), atol=1e-12)


def test_metric_of_meta_tensors():
    scores, truth, mask = photos(3)
    plain, metric = PixelAveragePrecisionMetric(), PixelAveragePrecisionMetric()
    plain(scores, truth, mask=mask)
    metric(*([MetaTensor(photo) for photo in part] for part in (scores, truth)), mask=[MetaTensor(m) for m in mask])
    assert torch.equal(torch.as_tensor(metric.aggregate()), plain.aggregate())


def test_metric_of_photos_of_different_sizes():
    scores, truth, _ = photos(2)
    metric = PixelAveragePrecisionMetric()
    metric([scores[0], scores[1, :, :7]], [truth[0], truth[1, :, :7]])
    channel = [torch.cat([part[0, 2].flatten(), part[1, 2, :7].flatten()]) for part in (truth, scores)]
    assert float(metric.aggregate()[2]) == pytest.approx(average_precision_score(*channel), abs=1e-12)


def test_metric_state_does_not_grow():
    scores, truth, _ = photos(4)
    metric = PixelAveragePrecisionMetric()
    for _ in range(3):
        metric(scores, truth)
    assert metric.get_buffer().shape == (1, 4, 2, SCORE_BINS)
    assert metric.get_buffer().sum() == 3 * scores.numel()


def test_metric_without_photos_and_of_wrong_channels():
    metric = PixelAveragePrecisionMetric()
    with pytest.raises(ValueError, match="no photo"):
        metric.aggregate()
    scores, truth, _ = photos(1)
    with pytest.raises(ValueError, match="no multiple"):
        metric(scores[:, :3], truth[:, :2])


def _one_of_two(rank: int, store: str, results: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=Path(store).as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    scores, truth, mask = photos(5)
    own = slice(0, 2) if rank == 0 else slice(2, 5)
    metric = PixelAveragePrecisionMetric()
    metric(scores[own], truth[own], mask=mask[own])
    torch.save(metric.aggregate(), Path(results) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_give_what_one_gives(tmp_path):
    """Each holds other photos, and not as many."""
    torch.multiprocessing.spawn(_one_of_two, (os.fspath(tmp_path / "store"), os.fspath(tmp_path)), nprocs=2)
    scores, truth, mask = photos(5)
    metric = PixelAveragePrecisionMetric()
    metric(scores, truth, mask=mask)
    for rank in range(2):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt"), metric.aggregate())
