"""Dice and IoU against MONAI's, and against fractions worked out by hand."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import DiceMetric, MeanIoU

from tinylesions.metrics import OVERLAP_SCORES, OverlapMetric
from tinylesions.metrics.pixel_protocols import Estimate

EMPTY = [0, 0, 0, 0]
FULL = [1, 1, 1, 1]


def images(count: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three lesions: the first in half of the images, the second in all, the third in none."""
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(count, 3, 9, 11, generator=generator) < 0.2).to(torch.uint8)
    truth[::2, 0] = 0
    truth[:, 2] = 0
    scores = (torch.rand(count, 3, 9, 11, generator=generator) + 0.5 * truth) / 1.5
    scores[::4, 0] *= 0.4  # nothing is predicted in some of the empty images
    scores[1, 1] *= 0.3  # nor in one that holds the lesion
    return scores, truth


def measure(scores: torch.Tensor, truth: torch.Tensor, **settings: float) -> dict[str, Estimate]:
    metric = OverlapMetric(**settings)
    metric(scores, truth)
    return metric.aggregate()


def rows(*pairs: tuple[list[float], list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, 2, 2) of one lesion, from the four pixels of each."""
    scores, truth = (torch.tensor([pair[part] for pair in pairs]).view(-1, 1, 2, 2) for part in (0, 1))
    return scores.float(), truth


def value(scores: dict[str, Estimate], lesion: int = 0) -> dict[str, float]:
    return {name: estimate.value[lesion].item() for name, estimate in scores.items()}


def equal(one: dict[str, Estimate], other: dict[str, Estimate]) -> bool:
    """The same numbers to the last bit."""
    return all(
        np.array_equal(part, of_other, equal_nan=True)
        for name in OVERLAP_SCORES
        for part, of_other in zip(one[name], other[name], strict=True)
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_values_are_those_of_monai(seed):
    scores, truth = images(seed=seed)
    found = measure(scores, truth, replicates=2)
    predicted = (scores >= 0.5).float()
    references = {
        "dice": DiceMetric(ignore_empty=True, reduction="mean_batch"),
        "iou": MeanIoU(ignore_empty=True, reduction="mean_batch"),
        "dice_with_empty": DiceMetric(ignore_empty=False, reduction="mean_batch"),
    }
    for name, reference in references.items():
        reference(predicted, truth.float())
        expected = reference.aggregate()
        if name != "dice_with_empty":
            expected[2] = torch.nan  # MONAI has 0 where no image holds the lesion
        np.testing.assert_allclose(found[name].value[:3], expected, atol=1e-6)
        assert found[name].value.dtype == torch.float64
        assert found[name].value[3].item() == pytest.approx(np.nanmean(found[name].value[:3]), abs=1e-12)


def test_values_worked_out_by_hand():
    """Four images: one right, one half right, one missed, one empty with a false alarm."""
    scores, truth = rows(
        ([0.9, 0.5, 0.1, 0.0], [1, 1, 0, 0]),  # 1 and 1
        ([0.9, 0.9, 0.9, 0.49], [1, 0, 0, 1]),  # 2·1/(3 + 2) and 1/4
        ([0.0, 0.0, 0.0, 0.0], [1, 0, 0, 0]),  # 0 and 0
        ([0.6, 0.0, 0.0, 0.6], EMPTY),
    )
    found = value(measure(scores, truth))
    assert found == pytest.approx(
        {
            "dice": (1 + 2 / 5) / 3,
            "iou": (1 + 1 / 4) / 3,
            "dice_with_empty": (1 + 2 / 5) / 4,
            "false_positive_images": 1,
            "false_positive_pixels": 2 / 4,
        },
        abs=1e-9,
    )


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (FULL, FULL, (1, 1, 1, math.nan, math.nan)),
        (FULL, [0, 1, 0, 0], (2 / 5, 1 / 4, 2 / 5, math.nan, math.nan)),
        (EMPTY, FULL, (0, 0, 0, math.nan, math.nan)),
        ([0, 1, 0, 0], [0, 1, 0, 0], (1, 1, 1, math.nan, math.nan)),
        (FULL, EMPTY, (math.nan, math.nan, 0, 1, 1)),
        ([0, 0, 0, 1], EMPTY, (math.nan, math.nan, 0, 1, 1 / 4)),
        (EMPTY, EMPTY, (math.nan, math.nan, 1, 0, 0)),
    ],
)
def test_a_single_image(predicted, truth, expected):
    found = measure(*rows((predicted, truth)))
    assert list(value(found).values()) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert tuple(found) == OVERLAP_SCORES
    for estimate in found.values():
        assert estimate.low.isnan().all()
        assert estimate.high.isnan().all()


def test_empty_images_are_skipped_but_their_false_alarms_are_told():
    held = ([0.9, 0.9, 0.0, 0.0], [1, 0, 0, 0])
    alone = value(measure(*rows(held)))
    clean = value(measure(*rows(held, (EMPTY, EMPTY), (EMPTY, EMPTY), (EMPTY, EMPTY))))
    alarm = value(measure(*rows(held, (EMPTY, EMPTY), (EMPTY, EMPTY), ([0, 0, 0.8, 0], EMPTY))))
    assert [scores["dice"] for scores in (alone, clean, alarm)] == [pytest.approx(2 / 3, abs=1e-9)] * 3
    assert [scores["iou"] for scores in (alone, clean, alarm)] == [0.5] * 3
    assert clean["dice_with_empty"] == pytest.approx((2 / 3 + 3) / 4, abs=1e-9)
    assert alarm["dice_with_empty"] == pytest.approx((2 / 3 + 2) / 4, abs=1e-9)
    assert alarm["false_positive_images"] == pytest.approx(1 / 3, abs=1e-9)
    assert alarm["false_positive_pixels"] == pytest.approx(1 / 12, abs=1e-9)


def test_lesion_that_no_image_holds_is_left_out_of_the_mean():
    scores, truth = images()
    found = measure(scores, truth)
    both = measure(scores[:, :2], truth[:, :2])
    for name in ("dice", "iou"):
        assert found[name].value[2].isnan()
        assert found[name].low[2].isnan()
        assert found[name].value[3] == both[name].value[2]
    assert found["false_positive_images"].value[1].isnan(), "every image holds the second lesion"
    absent = measure(scores[:, 2:], truth[:, 2:])
    assert absent["dice"].value.isnan().all()


def test_number_of_empty_images():
    metric = OverlapMetric()
    metric(*images())
    assert metric.empty_images().tolist() == [6, 0, 12]
    assert metric.empty_images().dtype == torch.int64


def test_threshold_itself_is_predicted():
    scores, truth = rows(([0.3, 0.29, 0.5, 0.49], FULL))
    assert value(measure(scores, truth))["iou"] == 1 / 4
    assert value(measure(scores, truth, threshold=0.3))["iou"] == 3 / 4
    assert value(measure(scores, truth, threshold=0.6))["iou"] == 0


def test_order_batches_lists_and_types_do_not_matter():
    scores, truth = images()
    whole = measure(scores, truth)
    metric = OverlapMetric()
    for index in reversed(range(6, 12)):
        metric([MetaTensor(scores[index])], [truth[index].float() * 255])
        metric.aggregate()  # asked for too early, which must not freeze it
    metric(scores[:4], truth[:4])
    metric(list(scores[4:6]), list(truth[4:6].bool()))
    assert equal(metric.aggregate(), whole)
    assert not equal(measure(scores, truth, seed=1), whole)
    metric.reset()
    with pytest.raises(ValueError, match="no image was given yet"):
        metric.aggregate()


def test_intervals_are_those_of_images_really_repeated():
    scores, truth = images(9)
    found = measure(scores, truth, replicates=60, seed=3)
    predicted = scores >= 0.5
    counts = [
        [[(p & t).sum(), p.sum(), t.sum(), p.numel()] for p, t in zip(*pair, strict=True)]
        for pair in zip(predicted, truth.bool(), strict=True)
    ]
    # the draws are made in the order of the last count first
    order = sorted(range(9), key=lambda image: [int(n) for row in counts[image][::-1] for n in row[::-1]])
    values = []
    for drawn in np.random.default_rng(3).multinomial(9, [1 / 9] * 9, size=60):
        repeated = [order[place] for place in range(9) for _ in range(drawn[place])]
        estimates = measure(scores[repeated], truth[repeated], replicates=2)
        values.append([estimates[name].value.tolist() for name in OVERLAP_SCORES])
    for place, name in enumerate(OVERLAP_SCORES):
        for column in range(4):
            sample = np.array([row[place][column] for row in values])
            if np.isnan(sample).all():
                assert found[name].low[column].isnan()
                continue
            low, high = np.nanpercentile(sample, [2.5, 97.5])
            assert found[name].low[column].item() == pytest.approx(low, abs=1e-12)
            assert found[name].high[column].item() == pytest.approx(high, abs=1e-12)


def test_no_interval_from_a_single_counting_image():
    """The first lesion is in one image, the second in all but one, the third in none."""
    scores, truth = images()
    truth[2:, 0] = 0
    truth[0, 1] = 0
    found = measure(scores, truth)
    unknown = {name: estimate.low.isnan().tolist() for name, estimate in found.items()}
    assert unknown == {name: estimate.high.isnan().tolist() for name, estimate in found.items()}
    assert unknown["dice"] == unknown["iou"] == [True, False, True, True]
    assert unknown["false_positive_images"] == unknown["false_positive_pixels"] == [False, True, False, True]
    assert unknown["dice_with_empty"] == [False] * 4, "all images count"
    assert not found["dice"].value[[0, 1, 3]].isnan().any()
    # the absent lesion, which has no value, takes no interval from the mean
    rest = measure(scores[:, 1:], truth[:, 1:])["dice"]
    assert rest.low.isnan().tolist() == [False, True, False]
    assert rest.low[2] == rest.low[0] < rest.high[2] == rest.high[0]


@pytest.mark.parametrize(("holding", "unknown"), [(0, True), (1, True), (2, False)])
def test_an_interval_needs_two_images(holding, unknown):
    pairs = [([0.9, 0.9 * (number % 2), 0.0, 0.0], [1, 0, 0, 0]) for number in range(holding)]
    found = measure(*rows(*pairs, *[(EMPTY, EMPTY)] * 4))
    assert torch.cat(found["dice"][1:]).isnan().tolist() == [unknown] * 4


def test_counts_of_each_image():
    metric = OverlapMetric()
    metric(*rows(([0.9, 0.9, 0.0, 0.9], [1, 0, 1, 0]), (EMPTY, FULL)), ids=["7", "10"])
    metric(*rows((FULL, EMPTY)), ids=["3"])
    ids, counts = metric.image_counts()
    assert ids == ["7", "10", "3"]
    assert counts.dtype == torch.int64
    assert counts.tolist() == [[[1, 3, 2, 4]], [[0, 0, 4, 4]], [[0, 4, 0, 4]]]
    metric.reset()
    metric(*rows((FULL, FULL)), ids=["8"])
    assert metric.image_counts()[0] == ["8"]
    metric(*rows((FULL, FULL)))
    with pytest.raises(ValueError, match="2 images, but 1 ids"):
        metric.image_counts()
    with pytest.raises(ValueError, match="1 predictions, but 2 ids"):
        metric(*rows((FULL, FULL)), ids=["8", "9"])


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        (torch.rand(2, 3, 4, 4) + 0.5, torch.zeros(2, 3, 4, 4), "are they logits"),
        (torch.rand(2, 3, 4, 4) - 1, torch.zeros(2, 3, 4, 4), "are they logits"),
        (torch.full((2, 3, 4, 4), math.nan), torch.zeros(2, 3, 4, 4), "are they logits"),
        (torch.rand(2, 3, 4, 4), torch.zeros(2, 1, 4, 4), r"\(3, 4, 4\) and \(1, 4, 4\)"),
        (torch.rand(2, 3, 4, 4), torch.zeros(2, 3, 4, 5), r"\(3, 4, 4\) and \(3, 4, 5\)"),
        (torch.rand(2, 3, 4), torch.zeros(2, 3, 4), r"one shape \(K, H, W\)"),
        (torch.rand(2, 3, 4, 4), None, "no truth"),
    ],
)
def test_input_that_does_not_fit(scores, truth, message):
    with pytest.raises(ValueError, match=message):
        OverlapMetric()(scores, truth)


@pytest.mark.parametrize("threshold", [0, -0.5, 1.5, math.nan])
def test_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        OverlapMetric(threshold)


def _one_of_two(rank: int, store: str, results: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=Path(store).as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    scores, truth = images(7)
    metric = OverlapMetric()
    metric(scores[rank::2], truth[rank::2], ids=[f"é{index}" for index in range(rank, 7, 2)])
    torch.save((metric.aggregate(), *metric.image_counts()), Path(results) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_give_what_one_gives(tmp_path):
    """Each takes every other image, and not as many."""
    torch.multiprocessing.spawn(_one_of_two, (os.fspath(tmp_path / "store"), os.fspath(tmp_path)), nprocs=2)
    alone = OverlapMetric()
    alone(*images(7), ids=[f"é{index}" for index in range(7)])
    ids, counts = alone.image_counts()
    expected = dict(zip(ids, counts.tolist(), strict=True))
    for rank in range(2):
        found, ids, counts = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert equal(found, alone.aggregate())
        assert dict(zip(ids, counts.tolist(), strict=True)) == expected
