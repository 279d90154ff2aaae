"""Resampled photos against photos that are really put together, and NumPy's percentiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tinylesions.metrics import average_precision, score_histogram
from tinylesions.metrics.bootstrap import percentile_interval, resample, resampled_values


def test_draws_are_as_many_photos_as_there_are():
    draws = resample(27, 2000, seed=3)
    assert draws.shape == (2000, 27)
    assert (draws.sum(1) == 27).all()
    assert torch.equal(draws, resample(27, 2000, seed=3))
    assert not torch.equal(draws, resample(27, 2000, seed=4))
    # each photo is drawn once on average, with the variance of 27 tries at 1/27
    np.testing.assert_allclose(draws.mean(0), 1, atol=0.1)
    np.testing.assert_allclose(draws.var(0), 1 - 1 / 27, rtol=0.15)


def test_values_are_those_of_photos_put_together():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(5, 2, 300, generator=generator)
    truth = torch.rand(5, 2, 300, generator=generator) < 0.3 * scores
    pairs = zip(scores.flatten(0, 1), truth.flatten(0, 1), strict=True)
    sums = torch.stack([score_histogram(*pair) for pair in pairs]).unflatten(0, (5, 2))
    draws = resample(5, 7)
    found = resampled_values(sums, average_precision, draws)
    for row, counts in zip(found, draws.int(), strict=True):
        photos = torch.arange(5).repeat_interleave(counts)
        for lesion in range(2):
            pooled = score_histogram(scores[photos, lesion], truth[photos, lesion])
            assert float(row[lesion]) == pytest.approx(float(average_precision(pooled)), abs=1e-12)


def test_single_photo_has_no_draws_worth_the_name():
    found = resampled_values(torch.ones(1, 3, 2), lambda sums: sums[..., 0], resample(1, 10))
    assert found.shape == (10, 3)
    assert found.isnan().all()


def test_interval_is_the_middle_95_percent():
    values = torch.rand(1000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values[:600, 1] = torch.nan
    low, high = percentile_interval(values)
    np.testing.assert_allclose(low, np.nanpercentile(values, 2.5, axis=0))
    np.testing.assert_allclose(high, np.nanpercentile(values, 97.5, axis=0))
    assert torch.stack(percentile_interval(torch.full((10, 1), torch.nan))).isnan().all()
