"""Tables of scores against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events

from tinylesions.handlers import ScoreTable, integrate_outputs, score_table
from tinylesions.handlers.score_table import ROWS
from tinylesions.metrics import GRADING_SCORES, PROTOCOLS

LESIONS = ["microaneurysm", "haemorrhage"]


def outputs(**values: list[float]) -> dict[str, float]:
    """Metrics by output: ``microaneurysm=[output 1, output 2]``."""
    return {
        f"average_precision_{lesion}_output_{head}": value
        for lesion, row in values.items()
        for head, value in enumerate(row, start=1)
    }


def evaluate(
    metrics: dict[str, Any], folder, lesions: list[str] = LESIONS, batches: list | None = None
) -> pd.DataFrame:
    """The saved table of an evaluation that ends with these metrics; of five photos unless told others."""
    engine = Engine(lambda engine, batch: None)
    numbers = {name: value for name, value in metrics.items() if name != "confusion_matrix"}
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: engine.state.metrics.update(numbers))
    engine.state.confusion_matrix = metrics.get("confusion_matrix")
    ScoreTable(lesions, folder).attach(engine)
    engine.run(batches or [[{"image": 0}]] * 5)
    return pd.read_csv(folder / "scores.csv", index_col="score")


def graded(confusion: list[list[int]], start: float = 0.1) -> dict[str, Any]:
    """Scores of grades: 0.10, 0.11, …, with ends of their intervals 0.05 off."""
    values = {name: start + step / 100 for step, name in enumerate(GRADING_SCORES)}
    low, high = ({name + end: value + shift for name, value in values.items()} for end, shift in ENDS)
    return {**values, **low, **high, "confusion_matrix": confusion}


ENDS = (("_low", -0.05), ("_high", 0.05))


def test_rows_and_mean():
    metrics = {
        "average_precision_microaneurysm": 0.2,
        "average_precision_haemorrhage": 0.6,
        "dice": torch.tensor([0.5, math.nan]),
        "unrelated": 1.0,
    }
    rows = {"precision": "average_precision_{lesion}", "Dice": "dice", "absent": "iou"}
    table = score_table(metrics, LESIONS, rows)
    expected = pd.DataFrame(
        {"microaneurysm": [0.2, 0.5], "haemorrhage": [0.6, math.nan], "mean": [0.4, 0.5]},
        index=pd.Index(["precision", "Dice"], name="score"),
    )
    pd.testing.assert_frame_equal(table, expected)


def test_outputs_are_chosen_on_validation_and_scored_on_test(tmp_path, capsys):
    """Microaneurysms: output 2 is best on validation, though output 1 is on test."""
    validation = outputs(microaneurysm=[0.3, 0.5], haemorrhage=[0.9, 0.1])
    test = outputs(microaneurysm=[0.8, 0.4], haemorrhage=[0.6, 0.7])
    table = integrate_outputs(validation, test, LESIONS, 2, tmp_path / "scores" / "outputs.csv")
    assert table.index.tolist() == ["output 1", "output 2", "output integration"]
    assert table["microaneurysm"].tolist() == [0.8, 0.4, 0.4]
    assert table["haemorrhage"].tolist() == [0.6, 0.7, 0.6]
    assert table["mean"].tolist() == pytest.approx([0.7, 0.55, 0.5])
    saved = pd.read_csv(tmp_path / "scores" / "outputs.csv", index_col="score")
    pd.testing.assert_frame_equal(saved, table)
    printed = capsys.readouterr().out
    assert "'microaneurysm': 'output 2'" in printed
    assert "'haemorrhage': 'output 1'" in printed
    assert "outputs.csv" in printed


def test_lesion_that_no_test_photo_holds(tmp_path):
    validation = outputs(microaneurysm=[0.3, 0.5], haemorrhage=[math.nan, 0.1])
    test = outputs(microaneurysm=[0.8, 0.4], haemorrhage=[math.nan, math.nan])
    table = integrate_outputs(validation, test, LESIONS, 2, tmp_path / "outputs.csv")
    assert math.isnan(table.loc["output integration", "haemorrhage"])
    assert table.loc["output integration", "mean"] == 0.4


def test_lesion_that_no_validation_photo_holds_takes_the_last_output(tmp_path):
    validation = outputs(microaneurysm=[0.3, 0.5], haemorrhage=[math.nan, math.nan])
    test = outputs(microaneurysm=[0.8, 0.4], haemorrhage=[0.2, 0.9])
    table = integrate_outputs(validation, test, LESIONS, 2, tmp_path / "outputs.csv")
    assert table.loc["output integration", LESIONS].tolist() == [0.4, 0.9]


def test_intervals_follow_the_scores():
    metrics = {
        "precision_microaneurysm": 0.2,
        "precision_haemorrhage": math.nan,
        "precision_microaneurysm_low": 0.1,
        "precision_microaneurysm_high": 0.3,
        "precision_mean_low": 0.15,
        "precision_mean_high": 0.25,
        "dice": [0.5, 0.7],
    }
    table = score_table(metrics, LESIONS, {"precision": "precision_{lesion}", "Dice": "dice"})
    ends = [f"{column}_{end}" for column in (*LESIONS, "mean") for end in ("low", "high")]
    assert table.columns.tolist() == [*LESIONS, "mean", *ends]
    assert table["mean"].tolist() == pytest.approx([0.2, 0.6])
    assert table.loc["precision", ["microaneurysm_low", "mean_high"]].tolist() == [0.1, 0.25]
    assert table.loc["precision", ["haemorrhage_low", "haemorrhage_high"]].isna().all()
    assert table.loc["Dice", ends].isna().all()


def test_evaluation_prints_and_saves(tmp_path, capsys):
    metrics = {f"average_precision_exact_{lesion}": 0.25 for lesion in LESIONS}
    metrics |= {f"average_precision_exact_mean_{end}": value for end, value in (("low", 0.2), ("high", 0.345))}
    metrics |= {f"sensitivity_at_1_{lesion}": 0.5 for lesion in LESIONS}
    metrics |= {"mean_average_precision": 0.25, "intersection_over_union": [0.1, math.nan]}
    saved = evaluate(metrics, tmp_path)
    rows = ["average precision (exact)", "sensitivity at 1 false positive a photo", "IoU at 0.5"]
    assert saved.index.tolist() == rows
    assert saved["mean"].tolist() == pytest.approx([0.25, 0.5, 0.1])
    assert saved["mean_high"].tolist() == pytest.approx([0.345, math.nan, math.nan], nan_ok=True)
    printed = capsys.readouterr().out.splitlines()
    assert any("5 photos" in line for line in printed)
    assert not any("reduced size" in line for line in printed)
    table = [line for line in printed if line.startswith(tuple(rows))]
    assert table[0].split()[3:] == ["0.250", "0.250", "0.250", "[0.20,", "0.34]"]
    assert table[2].split()[-3:] == ["0.100", "–", "0.100"]


def test_rows_of_the_reduced_size_follow_those_of_the_full_size(tmp_path, capsys):
    reduced = {f"reduced_{name}_{lesion}": 0.5 for name in ("precision", "recall", "threshold") for lesion in LESIONS}
    reduced |= {f"reduced_average_precision_{name}_{lesion}": 0.4 for name in PROTOCOLS for lesion in LESIONS}
    full = {f"average_precision_{name}_{lesion}": 0.3 for name in PROTOCOLS for lesion in LESIONS}
    metrics = reduced | full | {f"sensitivity_at_1_{lesion}": 0.2 for lesion in LESIONS}
    saved = evaluate(metrics, tmp_path)
    assert saved["mean"].to_dict() == pytest.approx(
        {
            **{f"average precision ({name})": 0.3 for name in PROTOCOLS},
            "precision at break-even, reduced size": 0.5,
            "recall at break-even, reduced size": 0.5,
            **{f"average precision ({name}), reduced size": 0.4 for name in PROTOCOLS},
            "sensitivity at 1 false positive a photo": 0.2,
        }
    )
    titles = saved.index.tolist()
    assert [title.endswith("reduced size") for title in titles] == [False] * 5 + [True] * 7 + [False]
    printed = capsys.readouterr().out
    assert "5 photos at full size; where a row says reduced size, at the network's own." in printed


GRADE_TITLES = {title: name for title, name in ROWS.items() if name in GRADING_SCORES}
COLUMNS = ["grade", "grade_low", "grade_high"]
CONFUSION = [[3, 1, 0], [0, 2, 0], [0, 12, 5]]


def test_grades_alone_have_no_columns_of_lesions(tmp_path, capsys):
    metrics = graded(CONFUSION) | {"grading": 0.1}
    for folder, lesions in ((tmp_path / "none", []), (tmp_path / "named", LESIONS)):
        saved = evaluate(metrics, folder, lesions)
        assert saved.columns.tolist() == COLUMNS
        assert saved.index.tolist() == list(GRADE_TITLES)
        for title, name in GRADE_TITLES.items():
            assert saved.loc[title].tolist() == [metrics[name], metrics[f"{name}_low"], metrics[f"{name}_high"]]
        printed = capsys.readouterr().out
        assert "23 photos with a true grade\n" in printed
        assert "masks" not in printed
        assert "size" not in printed
        assert [line.split() for line in printed.splitlines()[-4:-1]] == [
            ["0", "3", "1", "0"],
            ["1", "0", "2", "0"],
            ["2", "0", "12", "5"],
        ]
        assert any(line.split() == ["F1", "(macro)", "0.110", "[0.06,", "0.16]"] for line in printed.splitlines())
        assert all(word in printed for word in ("One-vs-rest", "hard labels", "grade ≥ 2", "95 % intervals"))


def test_lesions_alone_know_nothing_of_grades(tmp_path, capsys):
    evaluate({f"average_precision_exact_{lesion}": 0.25 for lesion in LESIONS}, tmp_path)
    assert (tmp_path / "scores.csv").read_text().splitlines() == [
        "score,microaneurysm,haemorrhage,mean",
        "average precision (exact),0.25,0.25,0.25",
    ]
    assert "grade" not in capsys.readouterr().out.lower()


def test_lesions_and_grades(tmp_path, capsys):
    metrics = {f"average_precision_exact_{lesion}": 0.25 for lesion in LESIONS}
    metrics |= {f"average_precision_exact_{x}_{end}": 0.2 for x in (*LESIONS, "mean") for end in ("low", "high")}
    metrics |= {"pooled_dice": [0.6, 0.8], "reduced_pooled_iou": torch.tensor([0.25, math.nan])}
    # no photo of a referable grade: rows of grades that have no value stay rows of grades
    metrics |= graded([[3, 1], [0, 1]]) | {"referable_sensitivity": math.nan}
    saved = evaluate(metrics, tmp_path)
    ends = [f"{column}_{end}" for column in (*LESIONS, "mean") for end in ("low", "high")]
    assert saved.columns.tolist() == [*LESIONS, "mean", *ends, *COLUMNS]
    of_lesions = ["average precision (exact)", "Dice (pooled)", "IoU (pooled), reduced size"]
    assert saved.index.tolist() == [*of_lesions, *GRADE_TITLES]
    assert saved.loc[of_lesions, COLUMNS].isna().all(axis=None)
    assert saved.loc[list(GRADE_TITLES), [*LESIONS, "mean", *ends]].isna().all(axis=None)
    assert saved.loc[of_lesions, "mean"].tolist() == pytest.approx([0.25, 0.7, 0.25])
    assert saved.loc["accuracy", COLUMNS].tolist() == pytest.approx([0.1, 0.05, 0.15])
    assert math.isnan(saved.loc["sensitivity (referable)", "grade"])
    printed = capsys.readouterr().out
    assert "5 photos, at full size; where a row says reduced size" in printed
    assert "pooled: of the pixels of all photos together" in printed
    lines = {line.split("  ")[0]: line.split() for line in printed.splitlines()}
    assert lines["Dice (pooled)"] == ["Dice", "(pooled)", "0.600", "0.800", "0.700"]
    assert lines["accuracy"] == ["accuracy", "0.100", "[0.05,", "0.15]"]
    assert lines["sensitivity (referable)"][-1] == "–"


def test_photos_are_counted_by_what_is_true_of_them(tmp_path, capsys):
    """Batches taken apart by photo, and one that is not."""
    batches = [
        [{"image": 0, "label_weight": torch.tensor(1.0)}, {"image": 0, "label_weight": 0.5}],
        {"image": torch.zeros(3, 1), "label_weight": torch.tensor([1.0, 0.0, 1.0])},
    ]
    metrics = {f"average_precision_exact_{lesion}": 0.25 for lesion in LESIONS}
    evaluate(metrics, tmp_path, batches=batches)
    assert "\n3 photos at full size. Average" in capsys.readouterr().out
    evaluate(metrics | graded([[2, 0], [1, 1]]), tmp_path, batches=batches)
    assert "\n4 photos with a true grade, 3 with masks, at full size. Average" in capsys.readouterr().out
    evaluate(metrics, tmp_path, batches=[{"image": torch.zeros(4, 1)}])
    assert "\n4 photos at full size" in capsys.readouterr().out
