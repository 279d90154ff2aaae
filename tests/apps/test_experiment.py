"""`tinylesions experiment` runs a table: each training once, measured beside published, resumable."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from tinylesions.apps import experiment as experiment_module
from tinylesions.apps.experiment import run_experiment
from tinylesions.apps.phantoms import PHANTOM_NOTE
from tinylesions.datasets import LESIONS, InputError
from tinylesions.datasets.phantoms import write_idrid_segmentation

pytestmark = pytest.mark.slow

TRAINED = {"u_net", "output_4"}


@pytest.fixture(scope="module")
def console():
    with open(os.devnull, "w", encoding="utf-8") as nothing:  # noqa: PTH123  os.devnull is no path on Windows
        yield Console(file=nothing)


@pytest.fixture(scope="module")
def run(tiny_bundle, console, tmp_path_factory):
    data = write_idrid_segmentation(tmp_path_factory.mktemp("data") / "idrid", 2, 1, size=(192, 256), seed=3)
    folder = tmp_path_factory.mktemp("experiment")

    def experiment(out="all", **options):
        return run_experiment(
            tiny_bundle, "table_4", data, folder / out, presets=["cpu"], console=console, **options
        ), folder / out

    return experiment


@pytest.fixture(scope="module")
def finished(run):
    return run()


@pytest.fixture(scope="module")
def table(tiny_bundle):
    return json.loads((tiny_bundle.root / "experiments" / "table_4.json").read_text(encoding="utf-8"))


def test_each_training_once(finished, table):
    _, out = finished
    rows = {"".join(c if c.isalnum() else "_" for c in row["name"].lower()) for row in table["rows"]}
    assert {path.name for path in out.iterdir() if path.is_dir()} == rows
    assert {path.parent.name for path in out.glob("*/model.pt")} == TRAINED
    assert {path.parent.name for path in out.glob("*/train_config.json")} == TRAINED
    assert {path.parent.name for path in out.glob("*/evaluate_config.json")} == rows
    weights = {
        path.parent.name: json.loads(path.read_text())["ckpt_path"] for path in out.glob("*/evaluate_config.json")
    }
    assert weights.pop("u_net") == str(out / "u_net" / "model.pt")
    assert set(weights.values()) == {str(out / "output_4" / "model.pt")}


def test_measured_is_what_the_evaluations_wrote(finished, table):
    frame, out = finished
    for row in table["rows"]:
        folder = out / row["name"].lower().replace(" ", "_").replace("-", "_")
        if row.get("integrates"):
            measured = pd.read_csv(folder / "outputs.csv", index_col="score").loc["output integration"]
        else:
            measured = pd.read_csv(folder / "scores.csv", index_col="score").loc["average precision (exact)"]
        for column in (*LESIONS, "mean"):
            value = frame.loc[row["name"], f"{column} measured"]
            assert value == pytest.approx(measured[column], nan_ok=True)
            assert frame.loc[row["name"], f"{column} published"] == row["published"][column]
        assert 0 <= frame.loc[row["name"], "mean measured"] <= 1


def test_the_outputs_differ(finished):
    frame, _ = finished
    assert frame.loc[[f"output {head}" for head in range(1, 5)], "mean measured"].nunique() == 4


def test_files(finished, table):
    frame, out = finished
    csv = pd.read_csv(out / "table_4.csv", index_col="row")
    pd.testing.assert_frame_equal(csv, frame)
    text = (out / "table_4.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {table['title']}\n")
    for fact in ("preset cpu", table["paper"], table["protocol"], table["note"]):
        assert fact in text
    head, _, *lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert head == ["row", *frame.columns]
    assert [line[0] for line in lines] == list(frame.index)
    for line in lines:
        for column, cell in zip(frame.columns, line[1:], strict=True):
            value = frame.loc[line[0], column]
            assert cell == ("–" if pd.isna(value) else f"{value:.4f}")


def test_what_is_done_is_not_done_again(finished, run, monkeypatch):
    frame, _ = finished

    def no_work(*_, **__):
        raise AssertionError("there is nothing left to do")

    monkeypatch.setattr(experiment_module, "build_workflow", no_work)
    again, _ = run()
    pd.testing.assert_frame_equal(again, frame)


def test_one_row_trains_what_it_needs(run):
    frame, out = run("one", rows=["output 2"])
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"output_2", "output_4"}
    assert not (out / "output_4" / "scores.csv").exists()
    assert frame["mean measured"].notna().to_dict() == {name: name == "output 2" for name in frame.index}
    assert "| U-Net | – | 0.8646 |" in (out / "table_4.md").read_text(encoding="utf-8")


def test_goes_on_after_an_interruption(finished, run, monkeypatch):
    frame, _ = finished
    work = experiment_module.run_workflow
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        work(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(experiment_module, "run_workflow", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("interrupted")
    again, out = run("interrupted")
    assert {path.parent.name for path in out.glob("*/model.pt")} == TRAINED
    pd.testing.assert_frame_equal(again, frame)


def test_rows_of_other_settings_are_never_mixed(finished, tiny_bundle, console):
    _, out = finished
    data = json.loads((out / "experiment.json").read_text(encoding="utf-8"))["dataset_dir"]
    with pytest.raises(InputError, match="holds rows with another presets: name another folder with --out"):
        run_experiment(tiny_bundle, "table_4", Path(data), out, console=console)


def test_drawings_are_called_drawings(finished, tiny_bundle, console):
    _, out = finished
    data = Path(json.loads((out / "experiment.json").read_text(encoding="utf-8"))["dataset_dir"])
    assert "drawings" not in (out / "table_4.md").read_text(encoding="utf-8")
    (data / PHANTOM_NOTE).touch()
    run_experiment(tiny_bundle, "table_4", data, out, presets=["cpu"], console=console)
    assert "say nothing about eyes" in (out / "table_4.md").read_text(encoding="utf-8")
