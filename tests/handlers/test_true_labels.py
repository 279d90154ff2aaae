"""What is scored is what a person labelled: metrics see those photos and do nothing for the others."""

from __future__ import annotations

import pickle

import pytest
import torch
from monai.handlers import ConfusionMatrix, MeanDice, from_engine

from tinylesions.handlers import GradingScores, PixelAveragePrecision, PixelBreakEven, true_labels

from .tasks import PRED_AND_LABEL, evaluate, items

CLASSES = ["other", "microaneurysm", "haemorrhage", "hard_exudate", "soft_exudate"]


@pytest.mark.parametrize("number", [float, torch.tensor, lambda weight: torch.tensor([weight], dtype=torch.float64)])
def test_values_of_the_photos_whose_weight_is_one(number):
    photos = [{"a": index, "b": str(index), "w": number(w)} for index, w in enumerate([1.0, 0.0, 0.999, 1.0])]
    transform = pickle.loads(pickle.dumps(true_labels(["b", "a"], "w")))
    assert transform(photos) == (["0", "3"], [0, 3])
    assert transform(photos[1:3]) == ([], [])
    with pytest.raises(KeyError):
        true_labels(["a"], "weight")(photos)


def metrics_of(mask_transform, grade_transform) -> dict:
    return {
        "precision": PixelAveragePrecision(CLASSES, output_transform=mask_transform),
        "break_even": PixelBreakEven(CLASSES, output_transform=mask_transform),
        "dice": MeanDice(output_transform=mask_transform, reduction="mean_batch"),
        "sensitivity": ConfusionMatrix(metric_name="sensitivity", output_transform=mask_transform),
        "grading": GradingScores(output_transform=grade_transform),
    }


@pytest.mark.parametrize("batch_size", [1, 3])
def test_photos_without_a_true_label_leave_no_trace(batch_size):
    """The first has a truth, the second has none; a network's labels count no more than unknown ones."""
    both = items([(1, 1), (0, 0), (1, 0.5), (0.5, 1), (1, 1), (0, 0)])
    masks = true_labels(PRED_AND_LABEL, "label_segmentation_weight")
    grades = true_labels(["pred_grade", "label_grade"], "label_grade_weight")
    found = evaluate(both, metrics_of(masks, grades), batch_size=batch_size)
    every = from_engine(PRED_AND_LABEL), from_engine(["pred_grade", "label_grade"])
    truth = {name: metric for name, metric in metrics_of(*every).items() if name != "grading"}
    expected = evaluate([both[photo] for photo in (0, 3, 4)], truth)
    for name, value in expected.items():
        torch.testing.assert_close(torch.as_tensor(found[name]), torch.as_tensor(value), rtol=0, atol=0)
    expected = evaluate([both[photo] for photo in (0, 2, 4)], {"grading": metrics_of(*every)["grading"]})
    assert expected.pop("confusion_matrix") == found["confusion_matrix"]
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=0, nan_ok=True)
    # the others would have counted
    assert evaluate(both, {"precision": metrics_of(*every)["precision"]})["precision"] != found["precision"]
