"""`tinylesions experiment` with the bundle of two tasks: tables of either, scored on another data set."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from tinylesions.apps.experiment import run_experiment
from tinylesions.apps.phantoms import write_phantoms
from tinylesions.datasets import LESIONS, read_layout, save_datalist
from tinylesions.monai_bundles import Bundle, find_bundle

from .conftest import CopiedBundle

pytestmark = pytest.mark.slow

SIZE = (192, 256)
PRESET = {
    "widths": [4, 4, 4, 4, 4],
    "spatial_size": [64, 64],
    "num_workers": 0,
    "schedules": {
        "grading": {"max_epochs": 1, "batch_size": 4, "learning_rate": 0.001},
        "segmentation": {"max_epochs": 1, "batch_size": 2, "learning_rate": 0.001},
    },
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    """A copy of the bundle whose cpu preset trains for a second."""
    bundle = find_bundle("fundus_dr_grading_segmentation")
    folder = Path(shutil.copytree(bundle.root, tmp_path_factory.mktemp("bundle") / bundle.name))
    (folder / "configs" / "cpu.json").write_text(json.dumps(PRESET), encoding="utf-8")
    return CopiedBundle(bundle.name, bundle.title, bundle.classes, folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The datalists to train on and the data sets to score, all drawn."""
    folder = tmp_path_factory.mktemp("data")
    write_phantoms(folder / "graded", "idrid", (12, 4, 5), SIZE, seed=1, grading=True)
    write_phantoms(folder / "masked", "idrid", (4, 2, 2), SIZE, seed=2)
    write_phantoms(folder / "eyepacs", "eyepacs", (4, 2, 10), SIZE, seed=3)
    write_phantoms(folder / "ddr", "ddr", (1, 1, 3), SIZE, seed=4)
    save_datalist(read_layout("idrid_grading", folder / "graded"), folder / "grading.json")
    save_datalist(read_layout("idrid", folder / "masked"), folder / "segmentation.json")
    return folder


@pytest.mark.parametrize(
    ("table", "trained_on", "scored_on", "columns"),
    [("table_11", "grading.json", "eyepacs", {"grade"}), ("table_12", "segmentation.json", "ddr", {*LESIONS, "mean"})],
)
def test_trained_here_and_scored_there(bundle, data, tmp_path, table, trained_on, scored_on, columns):
    printed = io.StringIO()
    frame = run_experiment(
        bundle,
        table,
        data / trained_on,
        tmp_path,
        presets=["cpu"],
        console=Console(file=printed),
        evaluation_dir=data / scored_on,
    )
    experiment = json.loads((bundle.root / "experiments" / f"{table}.json").read_text(encoding="utf-8"))
    for row in experiment["rows"]:
        folder = tmp_path / row["name"].lower().replace(" ", "_").replace("-", "_")
        scores = pd.read_csv(folder / "scores.csv", index_col="score")
        assert {name for name in scores if not name.endswith(("_low", "_high"))} == columns
        for column in row["published"]:
            measured = frame.loc[row["name"], f"{column} measured"]
            key, _, label = column.partition(" ")
            assert measured == scores.loc[experiment["scores"][label], key]
            assert 0 <= measured <= 1
        trained, evaluated = (
            json.loads((folder / f"{use}_config.json").read_text(encoding="utf-8")) for use in ("train", "evaluate")
        )
        assert (trained["layout"], trained["dataset_dir"]) == ("json", str(data / trained_on))
        assert (evaluated["layout"], evaluated["dataset_dir"]) == (scored_on, str(data / scored_on))
    text = (tmp_path / f"{table}.md").read_text(encoding="utf-8")
    assert f"Measured on {data / scored_on}, trained on {data / trained_on}, preset cpu" in text
    assert "The photos are phantoms (drawings)" in text
    assert "±" in text, "the printed deviations"


def test_networks_of_either_kind(bundle, data, tmp_path):
    rows = ["EfficientNetB0", "MTUnet"]
    console = Console(file=io.StringIO())
    frame = run_experiment(
        bundle, "table_9", data / "grading.json", tmp_path, presets=["cpu"], rows=rows, console=console
    )
    measured = frame[[column for column in frame if str(column).endswith("measured")]]
    assert list(frame.index[measured.notna().all(axis=1)]) == rows
