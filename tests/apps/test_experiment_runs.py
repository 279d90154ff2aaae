"""`tinylesions experiment` with trainings that write their scores at once: several scores, seeds, pictures."""

from __future__ import annotations

import io
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from tinylesions.apps import experiment as experiment_module
from tinylesions.apps.experiment import run_experiment
from tinylesions.monai_bundles import BUNDLES

from .conftest import CopiedBundle

LESIONS = ("microaneurysm", "haemorrhage", "mean")
ROWS = ("precision at break-even", "recall at break-even", "average precision (exact)")
TABLE = {
    "title": "One stage and two",
    "paper": "A paper, table 2",
    "dataset": "idrid",
    "metric": "precision and recall",
    "protocol": "at break-even",
    "overrides": {"layout": "idrid"},
}


def row(name: str, published: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"name": name, "train": {}, "evaluate": {}, "published": published, **keys}


def score(name: str, seed: int, place: int, column: int) -> float:
    """What an evaluation measures, as a function of the row's name, the seed and the place in its table."""
    return (len(name) + math.sqrt(seed + 1) * (1 + place) + column / 7) / 50


class Work:
    """Plays MONAI: notes what is asked for, and writes weights and scores."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], dict[str, Any]]] = []
        self.run_ids: list[str] = []

    def build(
        self, bundle: object, configs: list[str], overrides: dict[str, Any], workflow_type: str, run_id: str = "run"
    ) -> Any:
        self.run_ids.append(run_id)
        return list(configs), dict(overrides)

    def run(self, workflow: tuple[list[str], dict[str, Any]], config_copy: Path) -> None:
        configs, overrides = workflow
        self.calls.append(workflow)
        folder = overrides["output_dir"]
        folder.mkdir(parents=True, exist_ok=True)
        config_copy.write_text(json.dumps(overrides, default=str), encoding="utf-8")
        if "evaluate" not in configs:
            for name in ("model.pt", "stage_1.pt"):
                (folder / name).touch()
            return
        assert overrides["ckpt_path"].exists()
        name = (folder.parent if folder.name.startswith("seed_") else folder).name
        values = [
            [score(name, overrides["seed"], place, column) for column in range(len(LESIONS))]
            for place in range(len(ROWS))
        ]
        frame = pd.DataFrame(values, index=pd.Index(ROWS, name="score"), columns=list(LESIONS))
        frame.to_csv(folder / "scores.csv")

    def trained(self) -> list[tuple[str, int]]:
        """(folder, seed) of each training."""
        return [
            (path(overrides["ckpt_dir"]), overrides["seed"]) for _, overrides in self.calls if "ckpt_dir" in overrides
        ]

    def evaluated(self) -> list[tuple[str, int]]:
        """(folder, seed) of each evaluation."""
        return [
            (path(overrides["output_dir"]), overrides["seed"])
            for _, overrides in self.calls
            if "ckpt_path" in overrides
        ]


def path(folder: Path) -> str:
    return folder.name if not folder.name.startswith("seed_") else f"{folder.parent.name}/{folder.name}"


@pytest.fixture
def work(monkeypatch) -> Work:
    work = Work()
    monkeypatch.setattr(experiment_module, "build_workflow", work.build)
    monkeypatch.setattr(experiment_module, "run_workflow", work.run)
    return work


@pytest.fixture
def run(work, dataset, tmp_path) -> Callable[..., tuple[pd.DataFrame, str]]:
    """Run a table of these rows; gives the frame and what was printed."""

    def experiment(*rows: dict[str, Any], only: list[str] | None = None, seeds: int = 1, **table: Any):
        folder = tmp_path / "bundle" / "experiments"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table_2.json").write_text(json.dumps({**TABLE, "rows": rows, **table}), encoding="utf-8")
        bundle = CopiedBundle("bundle", "A bundle", LESIONS[:2], folder.parent)
        printed = io.StringIO()
        console = Console(file=printed, width=300)
        frame = run_experiment(bundle, "table_2", dataset, tmp_path / "out", rows=only, seeds=seeds, console=console)
        return frame, printed.getvalue()

    return experiment


def markdown(out: Path) -> tuple[list[str], dict[str, list[str]]]:
    text = (out / "table_2.md").read_text(encoding="utf-8")
    head, _, *lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return head, {line[0]: line[1:] for line in lines}


SCORES = {"precision": "precision at break-even", "recall": "recall at break-even"}
PUBLISHED = {"microaneurysm precision": 0.5009, "microaneurysm recall": None, "haemorrhage precision": 0.6269}


class TestSeveralScores:
    def test_each_is_read_from_its_row(self, run, tmp_path):
        frame, printed = run(row("both", PUBLISHED), scores=SCORES)
        assert list(frame.columns) == [f"{key} {kind}" for key in PUBLISHED for kind in ("measured", "published")]
        line = frame.loc["both"]
        assert line["microaneurysm precision measured"] == pytest.approx(score("both", 0, 0, 0))
        assert line["microaneurysm recall measured"] == pytest.approx(score("both", 0, 1, 0))
        assert line["haemorrhage precision measured"] == pytest.approx(score("both", 0, 0, 1))
        assert line["haemorrhage precision published"] == 0.6269
        assert printed.splitlines()[:2] == [
            "One stage and two (A paper, table 2)",
            "precision and recall, protocol: at break-even",
        ]
        assert f"{score('both', 0, 1, 0):.3f} (–)" in printed

    def test_a_figure_that_is_not_published(self, run, tmp_path):
        run(row("both", PUBLISHED), scores=SCORES)
        cells = (tmp_path / "out" / "table_2.csv").read_text(encoding="utf-8").splitlines()[1].split(",")
        assert cells[4] == ""
        assert "" not in cells[:4] + cells[5:]
        head, lines = markdown(tmp_path / "out")
        assert head[4] == "microaneurysm recall published"
        assert lines["both"][3] == "–"
        assert lines["both"][2] == f"{score('both', 0, 1, 0):.4f}"
        text = (tmp_path / "out" / "table_2.md").read_text(encoding="utf-8")
        assert "a dash is a row that has not been run or a figure that the paper does not give." in text

    def test_a_score_that_the_evaluation_lacks(self, run):
        with pytest.raises(ValueError, match=r"scores.csv has no score 'F1' of 'microaneurysm'"):
            run(row("both", {"microaneurysm F1": 0.5}), scores={"F1": "F1"})

    def test_without_the_key_it_is_the_average_precision(self, run):
        frame, _ = run(row("both", {"haemorrhage": 0.5, "mean": None}))
        assert frame.loc["both", "haemorrhage measured"] == pytest.approx(score("both", 0, 2, 1))
        assert frame.loc["both", "mean measured"] == pytest.approx(score("both", 0, 2, 2))


class TestRows:
    def test_weights_and_configs(self, run, work, tmp_path):
        stages = {"weights_of": "both", "weights": "stage_1.pt", "configs": ["side_outputs", "more"]}
        run(row("both", {"mean": 0.5}), row("stage 1", {"mean": 0.4}, **stages))
        assert work.trained() == [("both", 0)]
        assert work.run_ids == ["run"] * 3
        (_, (plain, both), (more, stage_1)) = work.calls
        assert plain == ["train", "evaluate"]
        assert more == ["train", "evaluate", "side_outputs", "more"]
        assert both["ckpt_path"] == tmp_path / "out" / "both" / "model.pt"
        assert stage_1["ckpt_path"] == tmp_path / "out" / "both" / "stage_1.pt"
        assert stage_1["output_dir"] == tmp_path / "out" / "stage_1"

    def test_the_id_that_trains_and_the_folder_of_its_weights(self, run, work, tmp_path):
        run(row("both", {"mean": 0.5}, weights="."), run="training_all")
        assert work.run_ids == ["training_all", "run"]
        assert work.calls[1][1]["ckpt_path"] == tmp_path / "out" / "both"

    def test_a_row_of_pictures_has_no_line(self, run, tmp_path):
        frame, printed = run(row("both", {"mean": 0.5}), row("figure 7", {}, weights_of="both"))
        assert list(frame.index) == ["both"]
        assert list(markdown(tmp_path / "out")[1]) == ["both"]
        assert f"pictures of figure 7: {tmp_path / 'out' / 'figure_7'}\n" in printed

    def test_pictures_only(self, run, work, tmp_path):
        rows = (row("figure 7", {}), row("figure 8", {}, weights_of="figure 7"))
        frame, printed = run(*rows)
        assert frame.empty
        assert not list((tmp_path / "out").glob("table_2.*"))
        assert "saved as" not in printed
        for name in ("figure 7", "figure 8"):
            assert f"pictures of {name}: {tmp_path / 'out' / name.replace(' ', '_')}\n" in printed
        assert len(work.calls) == 3
        _, again = run(*rows)
        assert "pictures of figure 7" in again
        assert len(work.calls) == 3


class TestSeeds:
    BOTH = (row("both", {"mean": 0.5}), row("stage 1", {"mean": 0.4}, weights_of="both", weights="stage_1.pt"))

    def test_every_row_with_every_seed_in_its_own_folder(self, run, work, tmp_path):
        run(*self.BOTH, seeds=3)
        assert work.trained() == [(f"both/seed_{seed}", seed) for seed in range(3)]
        assert sorted(work.evaluated()) == [
            (f"{name}/seed_{seed}", seed) for name in ("both", "stage_1") for seed in range(3)
        ]
        for _, overrides in work.calls:
            if "ckpt_path" in overrides:
                assert overrides["ckpt_path"].parent == tmp_path / "out" / "both" / f"seed_{overrides['seed']}"

    def test_mean_and_deviation(self, run, tmp_path):
        frame, printed = run(*self.BOTH, seeds=3)
        assert list(frame.columns) == ["seeds", "mean measured", "mean std", "mean published"]
        _, lines = markdown(tmp_path / "out")
        for name, folder in (("both", "both"), ("stage 1", "stage_1")):
            values = [score(folder, seed, 2, 2) for seed in range(3)]
            mean, deviation = statistics.fmean(values), statistics.stdev(values)
            assert deviation > 0.005
            assert frame.loc[name, "mean measured"] == pytest.approx(mean)
            assert frame.loc[name, "mean std"] == pytest.approx(deviation)
            cell = f"{mean:.3f} ± {deviation:.3f}"
            assert lines[name][:2] == ["3", cell]
            assert f"{cell} ({frame.loc[name, 'mean published']:.3f})" in printed
        csv = pd.read_csv(tmp_path / "out" / "table_2.csv", index_col="row")
        pd.testing.assert_frame_equal(csv, frame)
        text = (tmp_path / "out" / "table_2.md").read_text(encoding="utf-8")
        assert "mean ± sample standard deviation over 3 seeds" in text
        assert "mean ± sample standard deviation over 3 seeds" in printed

    def test_one_seed_is_the_table_without_seeds(self, run, work, tmp_path):
        frame, printed = run(*self.BOTH)
        assert work.trained() == [("both", 0)]
        assert work.evaluated() == [("both", 0), ("stage_1", 0)]
        assert list(frame.columns) == ["mean measured", "mean published"]
        assert "±" not in printed + (tmp_path / "out" / "table_2.md").read_text(encoding="utf-8")

    def test_more_seeds_only_add(self, run, work):
        first, _ = run(*self.BOTH)
        work.calls.clear()
        frame, _ = run(*self.BOTH, seeds=2)
        assert work.trained() == [("both/seed_1", 1)]
        assert work.evaluated() == [("both/seed_1", 1), ("stage_1/seed_1", 1)]
        assert frame.loc["both", "seeds"] == 2
        assert frame.loc["both", "mean measured"] == pytest.approx(
            statistics.fmean([first.loc["both", "mean measured"], score("both", 1, 2, 2)])
        )
        work.calls.clear()
        run(*self.BOTH, seeds=3)
        assert work.trained() == [("both/seed_2", 2)]

    def test_fewer_seeds_do_nothing_anew(self, run, work):
        run(*self.BOTH, seeds=2)
        work.calls.clear()
        frame, _ = run(*self.BOTH)
        assert not work.calls
        assert frame.loc["both", "mean measured"] == pytest.approx(score("both", 0, 2, 2))

    def test_a_row_that_has_not_been_run(self, run, tmp_path):
        frame, printed = run(*self.BOTH, row("other", {"mean": 0.3}), only=["both"], seeds=2)
        assert list(frame["seeds"]) == [2, 0, 0]
        assert markdown(tmp_path / "out")[1]["other"] == ["0", "–", "0.3000"]
        assert "– (0.300)" in printed

    def test_pictures_of_every_seed(self, run, tmp_path):
        _, printed = run(row("figure 7", {}), seeds=2)
        for seed in range(2):
            assert f"pictures of figure 7: {tmp_path / 'out' / 'figure_7' / f'seed_{seed}'}\n" in printed

    @pytest.mark.parametrize("seeds", [0, -1])
    def test_at_least_one(self, run, seeds):
        with pytest.raises(ValueError, match="at least 1"):
            run(*self.BOTH, seeds=seeds)


def test_the_option(tinylesions, work, dataset, tmp_path, monkeypatch):
    folder = tmp_path / "bundle" / "experiments"
    folder.mkdir(parents=True)
    table = {**TABLE, "rows": [row("both", {"mean": 0.5})]}
    (folder / "table_2.json").write_text(json.dumps(table), encoding="utf-8")
    monkeypatch.setitem(BUNDLES, "bundle", CopiedBundle("bundle", "A bundle", LESIONS[:2], folder.parent))
    command = ("experiment", "table_2", "--bundle", "bundle", "--dataset-dir", dataset, "--out", tmp_path / "out")
    assert tinylesions(*command, "--seeds", 2).code == 0
    assert work.trained() == [("both/seed_0", 0), ("both/seed_1", 1)]
    assert tinylesions(*command, "--seeds", 0).code == 2
