"""`tinylesions experiment` where a row reads what its training logged, or has scores of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from tinylesions.apps import experiment as experiment_module
from tinylesions.apps.experiment import run_experiment
from tinylesions.apps.experiment_table import save_log_as_scores

from .conftest import CopiedBundle
from .test_experiment_runs import LESIONS, SCORES, TABLE, Work, markdown, row, score

EPOCHS = """\
epoch,microaneurysm_pixels,haemorrhage_pixels,microaneurysm_share,haemorrhage_share
1,1,3,0.25,0.75
2,3000,1000,0.75,0.25
"""
WEIGHTS = """\
score,microaneurysm,haemorrhage
frequency,0.125,0.875
scheme 4,0.5,0.5
"""


class LoggingWork(Work):
    """Trainings that leave logs; the run id says which."""

    def build(
        self, bundle: object, configs: list[str], overrides: dict[str, Any], workflow_type: str, run_id: str = "run"
    ) -> Any:
        if run_id == "weights":
            overrides["output_dir"].mkdir(parents=True)
            (overrides["output_dir"] / "weights.csv").write_text(WEIGHTS, encoding="utf-8")
        if run_id == "epochs":
            (overrides["output_dir"] / "network").mkdir(parents=True)
            text = EPOCHS.replace("3000", str(3000 + overrides["seed"]))
            (overrides["output_dir"] / "network" / "epochs.csv").write_text(text, encoding="utf-8")
        return super().build(bundle, configs, overrides, workflow_type, run_id)


@pytest.fixture
def work(monkeypatch) -> Work:
    work = LoggingWork()
    monkeypatch.setattr(experiment_module, "build_workflow", work.build)
    monkeypatch.setattr(experiment_module, "run_workflow", work.run)
    return work


@pytest.fixture
def run(work, dataset, tmp_path) -> Callable[..., tuple[pd.DataFrame, str]]:
    """Run a table of these rows; gives the frame and what was printed."""

    def experiment(*rows: dict[str, Any], seeds: int = 1, only: list[str] | None = None, **table: Any):
        folder = tmp_path / "bundle" / "experiments"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table_2.json").write_text(json.dumps({**TABLE, "rows": rows, **table}), encoding="utf-8")
        bundle = CopiedBundle("bundle", "A bundle", LESIONS[:2], folder.parent)
        printed = io.StringIO()
        console = Console(file=printed, width=300)
        frame = run_experiment(bundle, "table_2", dataset, tmp_path / "out", seeds=seeds, rows=only, console=console)
        return frame, printed.getvalue()

    return experiment


LOGGED = {"run": "epochs", "log": "network/epochs.csv", "scores": {"share": "share", "pixels": "pixels"}}
COLUMNS = {"microaneurysm share": 0.5, "haemorrhage share": 0.5, "microaneurysm pixels": 227574}


def test_the_last_epoch_is_read_and_nothing_evaluated(run, work, tmp_path):
    frame, printed = run(row("n = 512", COLUMNS), **LOGGED)
    assert work.run_ids == ["epochs"]
    assert list(frame.filter(like="measured").loc["n = 512"]) == [0.75, 0.25, 3000]
    assert "running: n = 512" in printed
    assert "evaluating" not in printed
    _, lines = markdown(tmp_path / "out")
    assert lines["n = 512"] == ["0.7500", "0.5000", "0.2500", "0.5000", "3000", "227574"]


def test_it_is_read_once(run, work, tmp_path):
    frame, _ = run(row("n = 512", COLUMNS), **LOGGED)
    again, printed = run(row("n = 512", COLUMNS), **LOGGED)
    assert len(work.calls) == 1
    assert "running" not in printed
    pd.testing.assert_frame_equal(again, frame)


def test_of_every_seed(run, work):
    frame, _ = run(row("n = 512", COLUMNS), seeds=3, **LOGGED)
    assert work.trained() == [(f"n___512/seed_{seed}", seed) for seed in range(3)]
    assert not work.evaluated()
    assert frame.loc["n = 512", "microaneurysm pixels measured"] == 3001
    assert frame.loc["n = 512", "microaneurysm pixels std"] == 1


def test_a_training_that_has_not_ended_is_no_row(run, tmp_path):
    other = tmp_path / "out" / "n___1024" / "network"
    other.mkdir(parents=True)
    (other / "epochs.csv").write_text(EPOCHS, encoding="utf-8")
    frame, _ = run(row("n = 512", COLUMNS), row("n = 1024", COLUMNS), only=["n = 512"], **LOGGED)
    assert frame.filter(like="measured").loc["n = 512"].notna().all()
    assert frame.filter(like="measured").loc["n = 1024"].isna().all()


def test_rows_of_one_log_with_scores_of_their_own(run, work):
    published = {"microaneurysm": 0.1, "haemorrhage": 0.9}
    first = row("scheme 4", published, scores={"": "scheme 4"})
    second = row("shares", published, scores={"": "frequency"}, weights_of="scheme 4")
    frame, _ = run(first, second, run="weights", log="weights.csv")
    assert work.run_ids == ["weights"]
    assert frame["microaneurysm measured"].to_dict() == {"scheme 4": 0.5, "shares": 0.125}
    assert frame["haemorrhage published"].to_dict() == {"scheme 4": 0.9, "shares": 0.9}


def test_a_row_s_own_run_and_log_beside_the_table_s(run, work):
    own = {"run": "weights", "log": "weights.csv", "scores": {"share": "frequency"}}
    shares = {"microaneurysm share": 0.5, "haemorrhage share": 0.5}
    frame, _ = run(row("hard", shares), row("all", shares, **own), **LOGGED)
    assert work.run_ids == ["epochs", "weights"]
    assert frame["haemorrhage share measured"].to_dict() == {"hard": 0.25, "all": 0.875}


def test_evaluated_rows_with_scores_of_their_own(run, work):
    swapped = {"precision": SCORES["recall"], "recall": SCORES["precision"]}
    published = {"mean precision": 0.1, "mean recall": 0.2}
    rows = (row("plain", published), row("reused", published, weights_of="plain", scores=swapped))
    frame, _ = run(*rows, scores=SCORES)
    assert work.trained() == [("plain", 0)]
    assert work.evaluated() == [("plain", 0), ("reused", 0)]
    assert frame.loc["plain", "mean precision measured"] == pytest.approx(score("plain", 0, 0, 2))
    assert frame.loc["reused", "mean precision measured"] == pytest.approx(score("reused", 0, 1, 2))
    assert frame.loc["reused", "mean recall measured"] == pytest.approx(score("reused", 0, 0, 2))


def test_a_log_that_the_training_did_not_leave(run):
    with pytest.raises(FileNotFoundError):
        run(row("n = 512", COLUMNS), **LOGGED | {"run": "weights"})


def test_class_names_may_have_underscores(tmp_path):
    log: Path = tmp_path / "log.csv"
    log.write_text("epoch,smooth_muscle_share,nerve_share\n1,0.5,0.5\n2,0.25,0.75\n", encoding="utf-8")
    save_log_as_scores(log, tmp_path / "new" / "scores.csv")
    saved = pd.read_csv(tmp_path / "new" / "scores.csv", index_col="score")
    assert saved.loc["share"].to_dict() == {"smooth_muscle": 0.25, "nerve": 0.75}
    assert list(saved.index) == ["share"]
