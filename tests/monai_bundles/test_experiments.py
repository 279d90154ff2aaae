"""The tables of the papers, of every bundle: well formed, and runnable on the bundle's configs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tinylesions.datasets import LAYOUTS
from tinylesions.handlers.class_score_table import CLASS_ROWS
from tinylesions.handlers.score_table import ROWS

from .configs import read_json

BUNDLES = Path(__file__).parents[2] / "monai_bundles"
TABLES = sorted(BUNDLES.glob("*/experiments/*.json"))

TABLE_KEYS = {"title", "paper", "dataset", "metric", "protocol", "overrides", "rows"}
OPTIONAL_TABLE_KEYS = {"note", "open", "scores", "evaluation_dataset", "run", "log"}
ROW_KEYS = {"name", "train", "evaluate", "published"}
OPTIONAL_ROW_KEYS = {"weights_of", "weights", "integrates", "configs", "note", "published_std", "needs_pretrained"}
OPTIONAL_ROW_KEYS |= {"run", "log", "scores"}
ONE_FILE_RUNS = {"run"}
"""Run ids that train one network; the others leave a folder with a file for each."""
LOGGED = {
    "multi_class/hard_pixels.csv": {"share", "pixels"},
    "class_weights.csv": {"frequency", *(f"scheme {number}" for number in range(1, 7))},
}
"""What a training leaves → the scores in it."""


def all_rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    return table["rows"] + table.get("open", [])


def of_row(table: dict[str, Any], row: dict[str, Any], key: str, default: Any = None) -> Any:
    """A row's own value, else the table's."""
    return row.get(key, table.get(key, default))


def configs_of(row: dict[str, Any]) -> list[str]:
    """What is laid over train.json when a row is evaluated."""
    return ["evaluate", *(["evaluate_outputs"] if row.get("integrates") else []), *row.get("configs", [])]


def ids(overrides: dict[str, Any]) -> set[str]:
    """The top-level ids that overrides are in."""
    return {re.split("#|::", name)[0] for name in overrides}


def test_every_bundle_has_tables():
    assert {path.parents[1] for path in TABLES} == {path.parents[1] for path in BUNDLES.glob("*/configs/metadata.json")}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
class TestTable:
    def test_keys(self, path):
        table = read_json(path)
        assert table.keys() - OPTIONAL_TABLE_KEYS == TABLE_KEYS
        assert table["dataset"] in LAYOUTS
        assert table["overrides"]["layout"] == table["dataset"]
        assert table.get("evaluation_dataset", "ddr") in LAYOUTS
        for row in table["rows"]:
            assert row.keys() - OPTIONAL_ROW_KEYS == ROW_KEYS
            assert row.get("integrates", True) is True
            assert not ("integrates" in row and "scores" in table), "output integration has the average precision only"
        for row in table.get("open", []):
            assert row.keys() - {"note", "published_std"} == {"name", "why", "published"}

    def test_names_are_unique_and_weights_come_from_rows_that_train(self, path):
        table = read_json(path)
        names = [row["name"] for row in all_rows(table)]
        folders = {re.sub(r"[^a-z0-9]", "_", name.lower()) for name in names}
        assert len(names) == len(set(names)) == len(folders)
        trained = {row["name"] for row in table["rows"] if "weights_of" not in row}
        for row in table["rows"]:
            weights = row.get("weights", "model.pt")
            if of_row(table, row, "run", "run") not in ONE_FILE_RUNS:
                assert weights == ".", "a folder with a file for each network"
            else:
                assert weights == Path(weights).name
                assert weights.endswith(".pt")
            if "weights_of" in row:
                assert row["weights_of"] in trained
                assert row["train"] == {}, "a row that takes another's weights has no training to override"

    def test_published_values(self, path):
        table = read_json(path)
        layout = LAYOUTS[table["dataset"]]
        for row in all_rows(table):
            labels = [f" {label}".rstrip() for label in of_row(table, row, "scores", [""])]
            names = (*layout.lesions, *layout.classes, "foreground", "mean", "grade")
            assert row["published"].keys() <= {f"{column}{label}" for column in names for label in labels}
            shares = {column: value for column, value in row["published"].items() if not column.endswith(" pixels")}
            assert all(value is None or 0 <= value <= 1 for value in shares.values())
            figures = {column for column, value in row["published"].items() if value is not None}
            assert row.get("published_std", {}).keys() <= figures, "a deviation without its mean"
            assert all(0 < value < 0.5 for value in row.get("published_std", {}).values())

    def test_scores_are_rows_of_an_evaluation(self, path):
        table = read_json(path)
        evaluated = CLASS_ROWS if LAYOUTS[table["dataset"]].classes else ROWS
        for row in all_rows(table):
            scores, log = of_row(table, row, "scores", {}), of_row(table, row, "log")
            assert set(scores.values()) <= (evaluated.keys() if log is None else LOGGED[log])
            assert all(label.strip() == label for label in scores)
            assert log is None or row["evaluate"] == {}, "nothing is evaluated"
            assert "" not in scores or len(scores) == 1, "a column without a label beside others"

    def test_overrides_name_ids_of_the_configs(self, path):
        table = read_json(path)
        folder = path.parents[1] / "configs"
        train = read_json(folder / "train.json").keys()
        assert "seed" in train, "an experiment repeats its rows with several seeds"
        for row in table["rows"]:
            evaluate = {id_ for name in configs_of(row) for id_ in read_json(folder / f"{name}.json")}
            assert of_row(table, row, "run", "run") in train
            assert ids(table["overrides"] | row["train"]) <= train - {"seed"}
            assert ids(table["overrides"] | row["evaluate"]) <= (train | evaluate) - {"seed"}

    def test_weights_to_start_from_are_for_the_rows_that_need_them(self, path):
        rows = read_json(path)["rows"]
        needing = [row for row in rows if "needs_pretrained" in row]
        for row in needing:
            assert "pretrained" not in row["train"], "the command gives them"
            assert row["evaluate"]["pretrained"] is None, "the trained weights hold all"
        for row in rows if needing else ():
            assert row in needing or row["train"]["pretrained"] is None
