"""Lesions and pixels at given thresholds, against scikit-image's regions and scikit-learn's scores."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.measure import label
from sklearn.metrics import f1_score, precision_score, recall_score

from tinylesions.metrics import LesionDetectionMetric

THRESHOLDS = (0.2, 0.7)


def photos(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Blobs of truth and, beside or on them, blobs of scores."""
    rng = np.random.default_rng(0)
    truth, scores = np.zeros((count, 2, 40, 50), bool), np.float32(0.1 * rng.random((count, 2, 40, 50)))
    for photo in range(count):
        for channel in range(2):
            for row, column in rng.integers(0, 36, (9, 2)):
                truth[photo, channel, row : row + 4, column : column + 4] = True
                row, column = row + rng.integers(-6, 7), column + rng.integers(-6, 7)
                blob = np.s_[photo, channel, max(row, 0) : row + 4, max(column, 0) : column + 4]
                scores[blob] = rng.random(scores[blob].shape)
    mask = np.ones((count, 1, 40, 50), np.uint8)
    mask[..., :7] = 0
    return torch.from_numpy(scores), torch.from_numpy(truth), torch.from_numpy(mask)


def literal(scores: np.ndarray, truth: np.ndarray, mask: np.ndarray, threshold: float, overlap: float) -> list[float]:
    """Of (N, H, W) of one class, region by region."""
    lesions = found = alarms = 0
    for s, t, m in zip(scores, truth, mask, strict=True):
        of_truth, regions = label(t, connectivity=2), label((s >= threshold) & m, connectivity=2)
        hit = set()
        for region in range(1, regions.max() + 1):
            inside = regions == region
            on_lesions = (inside & t).sum()
            if on_lesions and on_lesions >= overlap * inside.sum():
                hit |= set(of_truth[inside & t].tolist())
            else:
                alarms += 1
        lesions, found = lesions + int(of_truth.max()), found + len(hit)
    flat, predicted = truth.ravel(), ((scores >= threshold) & mask).ravel()
    at_half = f1_score(flat, ((scores >= 0.5) & mask).ravel())
    pixels = [score(flat, predicted) for score in (f1_score, precision_score, recall_score)]
    return [threshold, *pixels, at_half, lesions, found, alarms / len(scores)]


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("masked", [False, True])
def test_against_regions_one_by_one(overlap, masked):
    scores, truth, mask = photos(3)
    metric = LesionDetectionMetric(THRESHOLDS, overlap)
    for part in (slice(0, 1), slice(1, 3)):
        metric(scores[part], truth[part], **({"mask": mask[part]} if masked else {}))
    found = metric.aggregate()
    inside = mask[:, 0].numpy() > 0 if masked else np.ones((3, 40, 50), bool)
    for channel, threshold in enumerate(THRESHOLDS):
        expected = literal(scores[:, channel].numpy(), truth[:, channel].numpy(), inside, threshold, overlap)
        assert [float(column[channel]) for column in found] == pytest.approx(expected, rel=1e-12)
        assert 0 < expected[6] < expected[5]
        assert expected[7] > 0


def test_the_threshold_parts_regions():
    """Two peaks with a saddle between them are one region below it and two above."""
    scores, truth = torch.tensor([[[[0.9, 0.4, 0.8]]]]), torch.tensor([[[[1, 0, 0]]]])
    alarms = {}
    for threshold in (0.4, 0.5):
        metric = LesionDetectionMetric([threshold])
        metric(scores, truth)
        alarms[threshold] = float(metric.aggregate().false_alarms_per_photo)
    assert alarms == {0.4: 0, 0.5: 1}


def test_a_lesion_in_no_photo_has_false_alarms_only():
    metric = LesionDetectionMetric([0.5])
    metric([torch.ones(1, 2, 2), torch.zeros(1, 3, 3)], [torch.zeros(1, 2, 2), torch.zeros(1, 3, 3)])
    scores = metric.aggregate()
    assert all(math.isnan(column) for column in scores[1:5])
    assert [float(column) for column in scores[5:]] == [0, 0, 0.5]


@pytest.mark.parametrize(("thresholds", "overlap"), [([], 0.2), ([0.5, 0], 0.2), ([1.0], 0.2), ([0.5], -0.1)])
def test_arguments_out_of_range(thresholds, overlap):
    with pytest.raises(ValueError, match=r"thresholds are above 0|the overlap is a share"):
        LesionDetectionMetric(thresholds, overlap)


def test_wrong_input_is_refused():
    metric, photo = LesionDetectionMetric([0.5]), torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match="no photo was given yet"):
        metric.aggregate()
    with pytest.raises(ValueError, match="do not fit together"):
        metric(photo, photo, mask=torch.ones(1, 1, 2, 2))
    for wrong in (2.0, math.nan):
        with pytest.raises(ValueError, match="NaN or values outside"):
            metric(photo + wrong, photo)
    with pytest.raises(ValueError, match="shorter"):
        metric(photo.expand(1, 2, 4, 4), photo.expand(1, 2, 4, 4))


def _one_of_two(rank: int, store: str, results: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=Path(store).as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    scores, truth, mask = photos(3)
    own = slice(0, 1) if rank == 0 else slice(1, 3)
    metric = LesionDetectionMetric(THRESHOLDS)
    metric(scores[own], truth[own], mask=mask[own])
    torch.save(tuple(metric.aggregate()), Path(results) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_give_what_one_gives(tmp_path):
    """Each holds other photos, and not as many."""
    torch.multiprocessing.spawn(_one_of_two, (os.fspath(tmp_path / "store"), os.fspath(tmp_path)), nprocs=2)
    scores, truth, mask = photos(3)
    metric = LesionDetectionMetric(THRESHOLDS)
    metric(scores, truth, mask=mask)
    for rank in range(2):
        for own, other in zip(torch.load(tmp_path / f"{rank}.pt"), metric.aggregate(), strict=True):
            assert torch.equal(own, other)
