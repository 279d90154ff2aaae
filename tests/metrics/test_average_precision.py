"""The metric of whole photos against scikit-learn on their pooled pixels."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
from monai.data import MetaTensor
from sklearn.metrics import average_precision_score

from tinylesions.metrics import PixelAveragePrecisionMetric
from tinylesions.metrics.score_histogram import SCORE_BINS

from .cases import photos, scikit_learn_of


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
