"""Scores of classes against scikit-learn's, against loops over pixels and against the paper's tables."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from sklearn.metrics import confusion_matrix as confusion_matrix_of_sklearn
from sklearn.metrics import f1_score, jaccard_score, precision_recall_fscore_support

from tinylesions.metrics import CLASS_SCORES, ClassOverlapMetric
from tinylesions.metrics.class_overlap import confusion_matrix
from tinylesions.metrics.pixel_protocols import Estimate

CLASSES = 6


def images(count: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Class 3 is never predicted, 4 never true, 5 neither; class 2 is in one image in three."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(count, 1, 9, 11, generator=generator)
    truth = torch.bucketize(draw, torch.tensor([0.6, 0.8, 0.92])).to(torch.uint8)
    truth[[image for image in range(count) if image % 3]] %= 2
    wrong = torch.randint(0, 3, truth.shape, generator=generator, dtype=torch.uint8)
    predicted = torch.where(torch.rand(truth.shape, generator=generator) < 0.7, truth, wrong)
    predicted[predicted == 3] = 4
    return predicted, truth


def sources(count: int = 12) -> list[str]:
    return [f"tile {(image * 5) % 4}" for image in range(count)]


def measure(predicted, truth, of=None, **settings) -> dict[str, Estimate]:
    metric = ClassOverlapMetric(CLASSES, **settings)
    metric(predicted, truth, sources=of)
    return metric.aggregate()


def equal(one: dict[str, Estimate], other: dict[str, Estimate]) -> bool:
    """The same numbers to the last bit."""
    return all(
        np.array_equal(part, of_other, equal_nan=True)
        for name in CLASS_SCORES
        for part, of_other in zip(one[name], other[name], strict=True)
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_values_are_those_of_scikit_learn(seed):
    predicted, truth = images(seed=seed)
    found = measure(predicted, truth, replicates=0)
    flat = truth.flatten().numpy(), predicted.flatten().numpy()
    labels = range(CLASSES - 1)  # the last is neither true nor predicted, and the one before it is never true
    precision, recall, dice, _ = precision_recall_fscore_support(*flat, labels=labels, zero_division=0)
    iou = jaccard_score(*flat, labels=labels, average=None, zero_division=0)
    foreground = [part > 0 for part in flat]
    of_foreground = precision_recall_fscore_support(*foreground, average="binary")
    expected = {
        "dice": [*dice, math.nan, f1_score(*foreground), dice[:4].mean()],
        "iou": [*iou, math.nan, jaccard_score(*foreground), iou[:4].mean()],
        "precision": [*precision, math.nan, of_foreground[0], precision[:4].mean()],
        "recall": [*recall, math.nan, of_foreground[1], recall[:4].mean()],
    }
    assert tuple(found) == CLASS_SCORES
    for name, values in expected.items():
        assert found[name].value.dtype == torch.float64
        np.testing.assert_allclose(found[name].value, values, atol=1e-12)
    assert found["precision"].value[3:5].tolist() == [0, 0]
    assert found["recall"].value[3:5].tolist() == [0, 0]
    assert 0.2 < found["iou"].value[-1] < 0.8


def test_mean_does_not_depend_on_what_is_predicted_of_absent_classes():
    """To remove the last pixel of a class that is not there changes no other class's score by more than that pixel."""
    truth = torch.ones(1, 1, 10, 10, dtype=torch.uint8)
    truth[0, 0, 5:] = 0
    predicted = truth.clone()
    predicted[0, 0, 0, 0] = 4
    iou = measure(predicted, truth, replicates=0)["iou"].value
    assert iou[4] == 0
    assert iou[-1].item() == pytest.approx((1 + 49 / 50) / 2, abs=1e-12)
    assert measure(truth, truth, replicates=0)["iou"].value[-1] == 1


def test_values_of_a_loop_over_pixels():
    predicted, truth = images(4)
    found = measure(predicted, truth, replicates=0)["iou"].value
    for number in range(CLASSES - 1):
        intersection = union = 0
        for guess, true in zip(predicted.flatten().tolist(), truth.flatten().tolist(), strict=True):
            intersection += guess == number and true == number
            union += guess == number or true == number
        assert found[number].item() == pytest.approx(intersection / union, abs=1e-12)


def test_mean_is_the_papers():
    """Table 4.9's IoUs of AttU-Net / Dice, the background the last, have the mIoU of table 4.3."""
    assert np.mean([0, 0.3975, 0.3731, 0, 0, 0.2325, 0.8750]) == pytest.approx(0.2683, abs=1e-9)
    predicted, truth = images()
    iou = measure(predicted, truth, replicates=0)["iou"].value
    assert iou[-1].item() == pytest.approx(np.mean(iou[:4].numpy()), abs=1e-12)


def test_confusion_matrix():
    predicted, truth = images(5)
    metric = ClassOverlapMetric(CLASSES)
    metric(predicted, truth)
    expected = confusion_matrix_of_sklearn(truth.flatten(), predicted.flatten(), labels=range(CLASSES))
    assert metric.confusion_matrix().tolist() == expected.tolist()
    assert metric.confusion_matrix().dtype == torch.int64
    many = torch.full((1, 4, 4), 199, dtype=torch.uint8)  # 199 · 200 is no uint8
    assert confusion_matrix(many, many, 200)[199, 199] == 16


def test_foreground_is_left_out_where_it_is_a_class():
    predicted, truth = (part.clamp(max=1) for part in images())
    metric = ClassOverlapMetric(2, foreground=False, replicates=0)
    metric(predicted, truth)
    background, foreground, mean = metric.aggregate()["dice"].value.tolist()
    assert mean == pytest.approx((background + foreground) / 2, abs=1e-12)
    assert foreground == pytest.approx(measure(*images(), replicates=0)["dice"].value[CLASSES].item(), abs=1e-12)


@pytest.mark.parametrize("of", [None, sources()])
def test_order_batches_lists_and_types_do_not_matter(of):
    predicted, truth = images()
    names = of or [None] * 12
    whole = measure(predicted, truth, of)
    metric = ClassOverlapMetric(CLASSES)
    for index in reversed(range(6, 12)):
        metric([MetaTensor(predicted[index].float())], [truth[index].long()], sources=of and [names[index]])
        metric.aggregate()  # asked for too early, which must not freeze it
    metric(predicted[:4], truth[:4], sources=of and names[:4])
    metric(list(predicted[4:6]), list(truth[4:6].int()), sources=of and names[4:6])
    assert equal(metric.aggregate(), whole)
    assert not equal(measure(predicted, truth, of, seed=1), whole)
    metric.reset()
    with pytest.raises(ValueError, match="no image was given yet"):
        metric.aggregate()


def test_images_of_other_sizes_are_pooled_by_pixels():
    large, small = torch.zeros(1, 10, 10).long(), torch.ones(1, 1, 2).long()
    metric = ClassOverlapMetric(2, replicates=0)
    metric([large, small], [large, small * 0])
    assert metric.aggregate()["recall"].value[0].item() == pytest.approx(100 / 102, abs=1e-12)


@pytest.mark.parametrize("of", [None, sources(9)])
def test_intervals_are_those_of_sources_really_repeated(of):
    predicted, truth = images(9)
    found = measure(predicted, truth, of, replicates=60, seed=3)
    names = of or [str(image) for image in range(9)]
    parts = [[image for image in range(9) if names[image] == name] for name in sorted(set(names))]

    def matrix(part: list[int]) -> list[list[int]]:
        pixels = (tensor[part].flatten().numpy() for tensor in (truth, predicted))
        return confusion_matrix_of_sklearn(*pixels, labels=range(CLASSES)).tolist()

    # the draws are made in the order of the names, and of images without one in that of the last count first
    if of is None:
        parts.sort(key=lambda part: [number for row in matrix(part)[::-1] for number in row[::-1]])
    values = []
    for drawn in np.random.default_rng(3).multinomial(len(parts), [1 / len(parts)] * len(parts), size=60):
        repeated = [image for part, times in zip(parts, drawn, strict=True) for _ in range(times) for image in part]
        estimates = measure(predicted[repeated], truth[repeated], replicates=0)
        values.append([estimates[name].value.tolist() for name in CLASS_SCORES])
    for place, name in enumerate(CLASS_SCORES):
        # of a class that is never true nothing is known
        assert found[name].low.isnan().tolist() == [False] * 4 + [True, True, False, False]
        for column in (0, 1, 2, 3, CLASSES, CLASSES + 1):
            low, high = np.nanpercentile([row[place][column] for row in values], [2.5, 97.5])
            assert found[name].low[column].item() == pytest.approx(low, abs=1e-12)
            assert found[name].high[column].item() == pytest.approx(high, abs=1e-12)


def test_interval_of_the_mean():
    predicted, truth = images()
    found = measure(predicted, truth, sources())["iou"]
    assert found.low[-1] < found.value[-1] < found.high[-1]
    names = ["tile 0" if image in (0, 3) else f"tile {1 + image % 3}" for image in range(12)]
    rare = truth.clone()
    rare[[image for image in range(12) if image not in (0, 3)]] %= 3
    assert (rare[[0, 3]] == 3).flatten(1).any(1).all()
    # class 3 is true in one source: no interval of it, nor of the mean
    found = measure(predicted, rare, names)["iou"]
    assert found.low.isnan().tolist() == [False, False, False, True, True, True, False, True]
    assert found.high.isnan().tolist() == found.low.isnan().tolist()
    # by images there are two that hold it
    assert not measure(predicted, rare)["iou"].low[[3, -1]].isnan().any()


@pytest.mark.parametrize(("replicates", "count"), [(0, 12), (1000, 1)])
def test_no_intervals(replicates, count):
    found = measure(*images(count), replicates=replicates)
    for estimate in found.values():
        assert torch.cat(estimate[1:]).isnan().all()
        assert not estimate.value[[0, -1]].isnan().any()


def test_patches_of_one_source_are_no_two_sources():
    predicted, truth = images()
    found = measure(predicted, truth, ["one tile"] * 12)
    assert all(torch.cat(estimate[1:]).isnan().all() for estimate in found.values())


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        (torch.full((2, 1, 4, 4), CLASSES), torch.zeros(2, 1, 4, 4), "the prediction's class numbers are not all"),
        (torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), -1), "the truth's class numbers are not all"),
        (torch.full((2, 1, 4, 4), 0.5), torch.zeros(2, 1, 4, 4), "whole numbers from 0 to 5"),
        (torch.full((2, 1, 4, 4), math.nan), torch.zeros(2, 1, 4, 4), "whole numbers from 0 to 5"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 5), r"\(1, 4, 4\) and \(1, 4, 5\)"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), r"one shape \(1, H, W\)"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 4, 4), "2 predictions, but 1 truths"),
        (torch.zeros(2, 1, 4, 4), None, "2 predictions, but 0 truths"),
    ],
)
def test_input_that_does_not_fit(predicted, truth, message):
    with pytest.raises(ValueError, match=message):
        ClassOverlapMetric(CLASSES)(predicted, truth)


def test_sources_that_do_not_fit():
    metric = ClassOverlapMetric(CLASSES)
    with pytest.raises(ValueError, match="12 predictions, but 2 sources"):
        metric(*images(), sources=["a", "b"])
    metric(*images(2), sources=["a", "b"])
    assert metric.source_names() == ("a", "b")
    metric(*images(2))
    with pytest.raises(ValueError, match="4 images, but 2 sources"):
        metric.aggregate()
    with pytest.raises(ValueError, match="at least 2 classes"):
        ClassOverlapMetric(1)


def _one_of_two(rank: int, store: str, results: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=Path(store).as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    predicted, truth = images(7)
    metric = ClassOverlapMetric(CLASSES)
    metric(predicted[rank::2], truth[rank::2], sources=sources(7)[rank::2])
    torch.save((metric.aggregate(), metric.source_names()), Path(results) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_give_what_one_gives(tmp_path):
    """Each takes every other image, and not as many; both have patches of the same sources."""
    torch.multiprocessing.spawn(_one_of_two, (os.fspath(tmp_path / "store"), os.fspath(tmp_path)), nprocs=2)
    alone = measure(*images(7), sources(7))
    for rank in range(2):
        found, names = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert equal(found, alone)
        assert names == ("tile 0", "tile 1", "tile 2", "tile 3")
