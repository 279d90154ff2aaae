"""Scores of grades against scikit-learn's, and their intervals against photos that are really repeated."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
from monai.data import MetaTensor
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    recall_score,
    roc_auc_score,
)

from tinylesions import datasets
from tinylesions.metrics import GRADING_SCORES, GradingEstimate, GradingMetric, grading_scores, roc_auc
from tinylesions.metrics.grading import draws
from tinylesions.metrics.grading_scores import REFERABLE_GRADE

SHARES = (0.5, 0.1, 0.2, 0.12, 0.08)


def photos(count: int, shares: tuple[float, ...] = SHARES, levels: int = 0, seed: int = 0):
    """Probabilities and grades of networks that are often right; with levels, of few values and so full of ties."""
    generator = torch.Generator().manual_seed(seed)
    grades = torch.multinomial(torch.tensor(shares).double(), count, replacement=True, generator=generator)
    logits = torch.randn(count, len(shares), generator=generator)
    logits += 1.5 * torch.nn.functional.one_hot(grades, len(shares))
    probabilities = logits.softmax(1)
    if levels:
        probabilities = (probabilities * levels).round() / levels
    return probabilities, grades


def area(truth: np.ndarray, scores: np.ndarray) -> float:
    return roc_auc_score(truth, scores) if 0 < truth.sum() < len(truth) else math.nan


def mean_of_present(values: list[float]) -> float:
    present = [value for value in values if not math.isnan(value)]
    return sum(present) / len(present) if present else math.nan


def scikit_learn_of(probabilities: torch.Tensor, grades: torch.Tensor) -> dict[str, float]:
    scores, truth = probabilities.double().numpy(), grades.numpy()
    classes = range(scores.shape[1])
    predicted = scores.argmax(1)
    referred, refer = truth >= 2, predicted >= 2
    return {
        "accuracy": accuracy_score(truth, predicted),
        "macro_f1": f1_score(truth, predicted, average="macro", zero_division=0),
        "weighted_f1": f1_score(truth, predicted, average="weighted", zero_division=0),
        "roc_auc": mean_of_present([area(truth == grade, scores[:, grade]) for grade in classes]),
        "roc_auc_hard": mean_of_present([area(truth == grade, predicted == grade) for grade in classes]),
        "quadratic_kappa": cohen_kappa_score(truth, predicted, weights="quadratic", labels=list(classes)),
        "referable_roc_auc": area(referred, scores[:, 2:].sum(1)),
        "referable_sensitivity": recall_score(referred, refer, zero_division=np.nan),
        "referable_specificity": recall_score(~referred, ~refer, zero_division=np.nan),
    }


def measure(probabilities: torch.Tensor, grades: torch.Tensor, **options: int) -> dict[str, GradingEstimate]:
    metric = GradingMetric(**options)
    metric(probabilities, grades)
    return metric.aggregate()


CASES = {
    "usual": photos(400),
    "ties": photos(400, levels=4),
    "three grades": photos(150, (0.6, 0.2, 0.2)),
    "no photo of grades 1 and 4": photos(200, (0.5, 0, 0.3, 0.2, 0)),
    "two healthy grades": photos(60, (0.6, 0.4, 0, 0, 0)),
    "one grade": photos(30, (0, 0, 1, 0, 0)),
    "one grade, all right": (torch.eye(5)[[2] * 6], torch.full((6,), 2)),
    "all probabilities equal": (torch.full((50, 5), 0.2), photos(50)[1]),
    "all right": (torch.eye(5)[photos(50)[1]], photos(50)[1]),
    "one photo": photos(1),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_scikit_learn(case):
    found = {name: estimate.value for name, estimate in measure(*CASES[case], replicates=2).items()}
    assert tuple(found) == GRADING_SCORES
    assert found == pytest.approx(scikit_learn_of(*CASES[case]), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("case", ["usual", "ties", "one grade"])
def test_confusion_matrix_is_that_of_scikit_learn(case):
    probabilities, grades = CASES[case]
    metric = GradingMetric()
    metric(probabilities, grades)
    found = metric.confusion_matrix()
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found, confusion_matrix(grades, probabilities.numpy().argmax(1), labels=range(5)))


def test_one_true_grade_has_no_area():
    found = measure(*CASES["one grade"])
    for name in ("roc_auc", "roc_auc_hard", "referable_roc_auc", "referable_specificity"):
        assert all(math.isnan(number) for number in found[name])
    assert found["accuracy"].low < found["accuracy"].value < found["accuracy"].high


def test_absent_grade_keeps_its_place_in_kappa():
    """Grade 0 taken for 2 is worse than 2 taken for 3, whether or not a photo has grade 1."""
    probabilities = torch.eye(5)[[0, 2, 2, 3]]
    close, far = (
        measure(probabilities, torch.tensor(grades))["quadratic_kappa"].value
        for grades in (
            [0, 2, 3, 3],
            [0, 0, 2, 3],
        )
    )
    assert close == pytest.approx(1 - 1 / np.mean([(a - b) ** 2 for a in (0, 2, 3, 3) for b in (0, 2, 2, 3)]) / 4)
    assert far < close


def test_weights_are_photos_repeated():
    """Among the draws are some without a grade, whose scores scikit-learn gives on the photos left."""
    probabilities, grades = photos(12, levels=5)
    weights = torch.cat(list(draws(12, 60, seed=1)))
    found = grading_scores(probabilities, grades, weights)
    absent = 0
    for row, counts in enumerate(weights.int()):
        repeated = torch.arange(12).repeat_interleave(counts)
        absent += len(grades[repeated].unique()) < len(grades.unique())
        expected = scikit_learn_of(probabilities[repeated], grades[repeated])
        assert {name: values[row].item() for name, values in found.items()} == pytest.approx(
            expected, abs=1e-6, nan_ok=True
        )
    assert 0 < absent < 60


def test_roc_auc_counts_pairs():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 4, (20,), generator=generator) / 4
    positive = torch.rand(20, generator=generator) < 0.4
    weights = torch.randint(0, 3, (1, 20), generator=generator).double()
    right = pairs = 0.0
    for i in range(20):
        for j in range(20):
            if positive[i] and not positive[j]:
                pair = float(weights[0, i] * weights[0, j])
                pairs += pair
                right += pair * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    assert roc_auc(scores, positive, weights).item() == pytest.approx(right / pairs)


def test_intervals_are_those_of_photos_really_repeated():
    probabilities, grades = photos(40, levels=7)
    found = measure(probabilities, grades, replicates=70, seed=3)
    # the draws are made in the order of grades, then of the last probability
    order = sorted(range(40), key=lambda photo: (int(grades[photo]), probabilities[photo].tolist()[::-1]))
    values = []
    for counts in torch.cat(list(draws(40, 70, seed=3))).int():
        repeated = torch.tensor(order).repeat_interleave(counts)
        values.append(list(scikit_learn_of(probabilities[repeated], grades[repeated]).values()))
    low, high = np.nanpercentile(values, [2.5, 97.5], axis=0)
    np.testing.assert_allclose([estimate.low for estimate in found.values()], low, atol=1e-6)
    np.testing.assert_allclose([estimate.high for estimate in found.values()], high, atol=1e-6)


def test_interval_of_accuracy_is_about_the_binomial_one():
    probabilities, grades = photos(400)
    value, low, high = measure(probabilities, grades)["accuracy"]
    deviation = math.sqrt(value * (1 - value) / 400)
    assert (value - low, high - value) == pytest.approx((1.96 * deviation, 1.96 * deviation), rel=0.15)


def test_draws_are_as_many_photos_as_there_are():
    found = torch.cat(list(draws(9, 120, seed=0)))
    assert found.shape == (120, 9)
    assert (found.sum(1) == 9).all()
    assert len(found.unique(dim=0)) > 110, "the parts must not repeat each other"
    assert not torch.equal(found, torch.cat(list(draws(9, 120, seed=1))))


def test_photos_one_by_one_in_another_order_and_as_lists():
    probabilities, grades = photos(30)
    whole = measure(probabilities, grades, replicates=60)
    metric = GradingMetric(replicates=60)
    for photo in reversed(range(30)):
        if photo % 3 == 0:
            metric([MetaTensor(probabilities[photo])], [int(grades[photo])])
        elif photo % 3 == 1:
            metric([probabilities[photo]], [grades[photo, None]])
        else:
            metric(probabilities[photo, None].double(), grades[photo].view(1, 1).to(torch.uint8))
        metric.aggregate()  # asked for too early, which must not freeze it
    assert metric.aggregate() == whole
    assert measure(probabilities, grades, replicates=60, seed=1) != whole
    metric.reset()
    with pytest.raises(ValueError, match="no photo was given yet"):
        metric.aggregate()


def test_single_photo_has_no_interval():
    for value, low, high in (measure(*photos(1))[name] for name in ("accuracy", "macro_f1", "weighted_f1")):
        assert value in (0, 1)
        assert math.isnan(low)
        assert math.isnan(high)


@pytest.mark.parametrize(
    ("probabilities", "grades", "message"),
    [
        (torch.rand(4, 5), torch.tensor([0, 1, 2, 5]), "whole numbers from 0 to 4"),
        (torch.rand(4, 5), torch.tensor([0, 1, 2, -1]), "whole numbers from 0 to 4"),
        (torch.rand(4, 5), torch.tensor([0, 1, 2, 0.5]), "whole numbers from 0 to 4"),
        (torch.rand(4, 5), torch.tensor([0, 1, 2, math.nan]), "whole numbers from 0 to 4"),
        (torch.rand(4, 5) + 1, torch.zeros(4), "are they logits"),
        (torch.full((4, 5), math.nan), torch.zeros(4), "are they logits"),
        (torch.rand(4, 5), torch.zeros(3), r"are \(3,\)"),
        (torch.rand(4, 5), torch.zeros(4, 2), r"are \(4, 2\)"),
        (torch.rand(4, 2), torch.zeros(4), "K ≥ 3"),
        (torch.rand(4), torch.zeros(4), "K ≥ 3"),
        (torch.rand(0, 5), torch.zeros(0), "K ≥ 3"),
        (torch.rand(4, 5), None, "no grades"),
        ([torch.rand(5)] * 2, [1], "2 predictions, but 1 grades"),
        ([torch.rand(5), torch.rand(4)], [1, 2], "one shape"),
        ([], [], "one shape"),
    ],
)
def test_input_that_does_not_fit(probabilities, grades, message):
    with pytest.raises(ValueError, match=message):
        GradingMetric()(probabilities, grades)


def test_another_number_of_grades_than_before():
    metric = GradingMetric()
    metric(*photos(3))
    with pytest.raises(ValueError, match="4 probabilities a photo, but 5 before"):
        metric(torch.rand(1, 4), torch.tensor([0]))


def _one_of_two(rank: int, store: str, results: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=Path(store).as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    probabilities, grades = photos(31)
    torch.save(measure(probabilities[rank::2], grades[rank::2]), Path(results) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_give_what_one_gives(tmp_path):
    """Each takes every other photo, and not as many."""
    torch.multiprocessing.spawn(_one_of_two, (os.fspath(tmp_path / "store"), os.fspath(tmp_path)), nprocs=2)
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=False) == measure(*photos(31))


def test_referable_means_the_same_everywhere():
    """The room of metrics does not know that of data sets."""
    assert REFERABLE_GRADE == datasets.REFERABLE_GRADE
