"""`tinylesions experiment` and its data sets: one to train on, another to score, drawn or not; printed deviations."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from tinylesions.apps import experiment as experiment_module
from tinylesions.apps.experiment import run_experiment
from tinylesions.apps.phantoms import PHANTOM_NOTE
from tinylesions.datasets import InputError, read_layout, save_datalist
from tinylesions.datasets.phantoms import write_ddr_segmentation
from tinylesions.monai_bundles import BUNDLES

from .conftest import CopiedBundle
from .test_experiment_runs import LESIONS, TABLE, Work, row, score

DRAWINGS = "The photos are phantoms (drawings)"
ROW = row("both", {"mean": 0.5})


@pytest.fixture
def work(monkeypatch) -> Work:
    work = Work()
    monkeypatch.setattr(experiment_module, "build_workflow", work.build)
    monkeypatch.setattr(experiment_module, "run_workflow", work.run)
    return work


@pytest.fixture
def bundle(tmp_path) -> Callable[..., CopiedBundle]:
    """A bundle with a table of these rows."""

    def write(*rows: dict[str, Any], **table: Any) -> CopiedBundle:
        folder = tmp_path / "bundle" / "experiments"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table_2.json").write_text(json.dumps({**TABLE, "rows": rows, **table}), encoding="utf-8")
        return CopiedBundle("bundle", "A bundle", LESIONS[:2], folder.parent)

    return write


@pytest.fixture
def run(bundle, work, dataset, tmp_path) -> Callable[..., tuple[pd.DataFrame, str, str]]:
    """Run a table of these rows; gives the frame, the Markdown and what was printed."""

    def experiment(*rows: dict[str, Any], data: Path = dataset, options: dict[str, Any] | None = None, **table: Any):
        printed, out = io.StringIO(), tmp_path / "out"
        console = Console(file=printed, width=300)
        frame = run_experiment(bundle(*rows, **table), "table_2", data, out, console=console, **(options or {}))
        return frame, (out / "table_2.md").read_text(encoding="utf-8"), printed.getvalue()

    return experiment


@pytest.fixture(scope="session")
def _other(tmp_path_factory) -> Path:
    return write_ddr_segmentation(tmp_path_factory.mktemp("other") / "ddr", 1, 1, 2, size=(192, 256), seed=5)


@pytest.fixture
def other(_other, tmp_path) -> Path:
    """DDR's folders with two test photos; a test may spoil it."""
    return Path(shutil.copytree(_other, tmp_path / "other"))


class TestAnotherDataSetToScore:
    def test_only_the_evaluation_gets_it(self, run, work, dataset, other, tmp_path):
        _, text, _ = run(ROW, options={"evaluation_dir": other}, evaluation_dataset="ddr")
        (_, training), (_, evaluation) = work.calls
        assert (training["layout"], training["dataset_dir"]) == ("idrid", dataset)
        assert (evaluation["layout"], evaluation["dataset_dir"]) == ("ddr", other)
        assert evaluation["ckpt_path"] == tmp_path / "out" / "both" / "model.pt"
        assert f"Measured on {other}, trained on {dataset};" in text

    def test_its_layout_can_be_another(self, run, work, other, tmp_path):
        save_datalist(read_layout("ddr", other), tmp_path / "other.json")
        options = {"evaluation_dir": tmp_path / "other.json", "evaluation_layout": "json", "layout": "idrid"}
        run(ROW, options=options, evaluation_dataset="ddr")
        assert [(o["layout"], o["dataset_dir"].name) for _, o in work.calls] == [
            ("idrid", "dataset"),
            ("json", "other.json"),
        ]

    def test_a_table_that_needs_it(self, run, work, tmp_path):
        with pytest.raises(InputError, match=r"table_2 scores .* another data set \(ddr\): .* --evaluation-dir\.$"):
            run(ROW, evaluation_dataset="ddr")
        assert not work.calls
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("option", ["evaluation_dir", "evaluation_layout"])
    def test_a_table_that_has_no_use_for_it(self, run, work, other, tmp_path, option):
        value = {"evaluation_dir": other, "evaluation_layout": "ddr"}[option]
        with pytest.raises(InputError, match=f"leave --{option.replace('_', '-')} out"):
            run(ROW, options={option: value})
        assert not work.calls
        assert not (tmp_path / "out").exists()

    def test_one_without_test_photos_is_refused_before_any_training(self, run, work, other, tmp_path):
        items = [item for item in read_layout("ddr", other) if item["split"] != "test"]
        save_datalist(items, tmp_path / "other.json")
        options = {"evaluation_dir": tmp_path / "other.json", "evaluation_layout": "json"}
        with pytest.raises(InputError, match="no photo for 'test'"):
            run(ROW, options=options, evaluation_dataset="ddr")
        assert not work.calls
        assert not (tmp_path / "out").exists()

    def test_rows_of_two_data_sets_are_never_mixed(self, run, other, tmp_path):
        run(ROW, options={"evaluation_dir": other}, evaluation_dataset="ddr")
        run(ROW, options={"evaluation_dir": other}, evaluation_dataset="ddr")
        another = Path(shutil.copytree(other, tmp_path / "another"))
        with pytest.raises(InputError, match="holds rows with another evaluation_dataset_dir: name another folder"):
            run(ROW, options={"evaluation_dir": another}, evaluation_dataset="ddr")

    def test_the_options(self, tinylesions, bundle, work, dataset, other, tmp_path, monkeypatch):
        monkeypatch.setitem(BUNDLES, "bundle", bundle(ROW, evaluation_dataset="eyepacs"))
        command = ("experiment", "table_2", "--bundle", "bundle", "--dataset-dir", dataset, "--out", tmp_path / "out")
        assert "--evaluation-dir" in tinylesions(*command).problem
        assert not work.calls
        assert tinylesions(*command, "--evaluation-dir", other, "--evaluation-layout", "ddr").code == 0
        assert [(o["layout"], o["dataset_dir"]) for _, o in work.calls] == [("idrid", dataset), ("ddr", other)]


class TestDrawings:
    def test_a_folder(self, run, dataset):
        assert DRAWINGS not in run(ROW)[1]
        (dataset / PHANTOM_NOTE).touch()
        assert DRAWINGS in run(ROW)[1]

    def test_photos_of_a_datalist(self, run, dataset, other, tmp_path):
        # the note lies where the photos are, not beside the datalist; the first photos are no drawings
        path = tmp_path / "lists" / "joint.json"
        path.parent.mkdir()
        save_datalist(read_layout("idrid", dataset) + read_layout("ddr", other), path)
        options = {"layout": "json"}
        assert DRAWINGS not in run(ROW, data=path, options=options)[1]
        (other / PHANTOM_NOTE).touch()
        assert DRAWINGS in run(ROW, data=path, options=options)[1]

    def test_photos_to_score(self, run, other):
        options = {"evaluation_dir": other}
        assert DRAWINGS not in run(ROW, options=options, evaluation_dataset="ddr")[1]
        (other / PHANTOM_NOTE).touch()
        assert DRAWINGS in run(ROW, options=options, evaluation_dataset="ddr")[1]


class TestPrintedDeviations:
    ROWS = (
        row("both", {"mean": 0.6427, "haemorrhage": None}, published_std={"mean": 0.0207}),
        row("quoted", {"mean": 0.4552, "haemorrhage": 0.25}),
    )

    def test_stand_behind_their_figures(self, run, tmp_path):
        frame, text, printed = run(*self.ROWS)
        kinds = ("measured", "published", "published std")
        assert list(frame.columns) == [f"{column} {kind}" for column in ("mean", "haemorrhage") for kind in kinds]
        assert frame.loc["both", "mean published std"] == 0.0207
        assert frame["haemorrhage published std"].isna().all()
        measured = [score("both", 0, 2, 2), score("both", 0, 2, 1), score("quoted", 0, 2, 2), score("quoted", 0, 2, 1)]
        assert f"| both | {measured[0]:.4f} | 0.6427 ± 0.0207 | {measured[1]:.4f} | – |" in text
        assert f"| quoted | {measured[2]:.4f} | 0.4552 | {measured[3]:.4f} | 0.2500 |" in text
        assert f"{measured[0]:.3f} (0.643 ± 0.021)" in printed
        assert f"{measured[2]:.3f} (0.455)" in printed
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "table_2.csv", index_col="row"), frame)

    def test_beside_measured_ones(self, run):
        frame, text, printed = run(*self.ROWS, options={"seeds": 2})
        mean, deviation = frame.loc["both", ["mean measured", "mean std"]]
        assert deviation > 0.001
        assert f"| both | 2 | {mean:.3f} ± {deviation:.3f} | 0.6427 ± 0.0207 |" in text
        assert f"{mean:.3f} ± {deviation:.3f} (0.643 ± 0.021)" in printed
