"""The handler's values in a real evaluation are those of the metric, named, and they end in the table."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from monai.handlers import from_engine

from tinylesions.handlers import GradingScores, PixelBreakEven, ScoreTable, true_labels
from tinylesions.metrics import GRADING_SCORES, GradingMetric

from .tasks import PRED_AND_LABEL, BothTasks, evaluate, items

PHOTOS = items([(1, 1), (1, 0), (1, 0), (0, 1), (1, 1), (1, 0), (0, 0), (1, 0)], seed=1)
GRADES = true_labels(["pred_grade", "label_grade"], "label_grade_weight")
MASKS = true_labels(PRED_AND_LABEL, "label_segmentation_weight")


def expected() -> GradingMetric:
    graded = [photo for photo in PHOTOS if photo["grade_weight"]]
    logits = BothTasks()(torch.stack([photo["image"] for photo in graded]))["grade"]
    metric = GradingMetric()
    metric(logits.softmax(1), torch.tensor([photo["grade"] for photo in graded]))
    return metric


@pytest.mark.parametrize("batch_size", [1, 3])
def test_values_intervals_and_matrix(batch_size):
    found = evaluate(PHOTOS, {"grading": GradingScores(GRADES)}, batch_size=batch_size)
    metric = expected()
    for name, (value, low, high) in metric.aggregate().items():
        numbers = [found[name], found[f"{name}_low"], found[f"{name}_high"]]
        assert numbers == pytest.approx([value, low, high], abs=1e-12, nan_ok=True)
    assert found["confusion_matrix"] == metric.confusion_matrix().tolist()
    assert sum(map(sum, found["confusion_matrix"])) == 6
    assert found["grading"] == found["accuracy"]
    assert len(found) == 3 * len(GRADING_SCORES) + 2  # and the matrix


def test_another_score_under_the_own_name():
    found = evaluate(PHOTOS, {"key": GradingScores(GRADES, score="macro_f1")})
    assert found["key"] == found["macro_f1"] != found["accuracy"]
    assert evaluate(PHOTOS, {"accuracy": GradingScores(GRADES)})["accuracy"] == found["accuracy"]


def test_names_that_would_mislead():
    with pytest.raises(ValueError, match="no score 'f1' of grades, there are accuracy, macro_f1"):
        GradingScores(GRADES, score="f1")
    with pytest.raises(ValueError, match="score 'accuracy' cannot have the name 'roc_auc'"):
        evaluate(PHOTOS, {"roc_auc": GradingScores(GRADES)})


def test_without_a_graded_photo():
    with pytest.raises(ValueError, match="no photo was given yet"):
        evaluate(PHOTOS[3:4], {"grading": GradingScores(GRADES)})


def test_a_second_run_starts_anew():
    metric = GradingScores(from_engine(["pred_grade", "label_grade"]))
    graded = [photo for photo in PHOTOS if photo["grade_weight"]]
    evaluate(graded[:3], {"grading": metric})
    found = evaluate(graded[3:], {"grading": metric})
    assert sum(map(sum, found["confusion_matrix"])) == 3


def test_table_of_both_tasks(tmp_path, capsys):
    classes = ["other", "microaneurysm", "haemorrhage", "hard_exudate", "soft_exudate"]
    metrics = {"grading": GradingScores(GRADES), "break_even": PixelBreakEven(classes, MASKS, prefix="reduced_")}
    found = evaluate(PHOTOS, metrics, [ScoreTable(classes, tmp_path)], batch_size=3)
    table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
    assert table.loc["kappa (quadratic)", "grade_high"] == pytest.approx(found["quadratic_kappa_high"], abs=1e-12)
    row = table.loc["recall at break-even, reduced size"]
    assert row[classes].tolist() == pytest.approx([found[f"reduced_recall_{name}"] for name in classes], abs=1e-12)
    assert "6 photos with a true grade, 3 with masks, at full size" in capsys.readouterr().out
