"""`tinylesions experiment` with rows that start from weights which the package does not hold."""

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
from tinylesions.datasets import InputError
from tinylesions.monai_bundles import BUNDLES

from .conftest import CopiedBundle
from .test_experiment_runs import LESIONS, TABLE, Work, row, score

NEEDED = "a large network's checkpoint"
PLAIN = row("plain", {"mean": 0.5}) | {"train": {"pretrained": None}, "evaluate": {"pretrained": None}}
NEEDING = row("large", {"mean": 0.4}, needs_pretrained=NEEDED) | {"evaluate": {"pretrained": None}}


@pytest.fixture
def work(monkeypatch) -> Work:
    work = Work()
    monkeypatch.setattr(experiment_module, "build_workflow", work.build)
    monkeypatch.setattr(experiment_module, "run_workflow", work.run)
    return work


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    path = tmp_path / "large.pth"
    path.touch()
    return path


@pytest.fixture
def bundle(tmp_path) -> Callable[..., CopiedBundle]:
    def write(*rows: dict[str, Any]) -> CopiedBundle:
        folder = tmp_path / "bundle" / "experiments"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table_2.json").write_text(json.dumps({**TABLE, "rows": rows}), encoding="utf-8")
        return CopiedBundle("bundle", "A bundle", LESIONS[:2], folder.parent)

    return write


@pytest.fixture
def run(bundle, work, dataset, tmp_path) -> Callable[..., tuple[pd.DataFrame, str]]:
    """Run a table, by default one with a row of each kind; gives the frame and what was printed."""

    def experiment(*rows: dict[str, Any], **options: Any):
        printed = io.StringIO()
        console = Console(file=printed, width=300)
        table = bundle(*(rows or (NEEDING, PLAIN)))
        frame = run_experiment(table, "table_2", dataset, tmp_path / "out", console=console, **options)
        return frame, printed.getvalue()

    return experiment


def starts(work: Work) -> dict[str, object]:
    """What each training starts from."""
    return {o["ckpt_dir"].name: o["pretrained"] for _, o in work.calls if "ckpt_dir" in o}


class TestWithoutThem:
    def test_the_row_is_left_out_of_all(self, run, work, tmp_path):
        frame, printed = run()
        assert work.trained() == work.evaluated() == [("plain", 0)]
        (sentence,) = [line for line in printed.splitlines() if "left out" in line]
        assert sentence == (
            f"large is left out: it starts from {NEEDED}, which is not part of this package:"
            " name its file with --pretrained."
        )
        assert frame["mean measured"].notna().to_dict() == {"large": False, "plain": True}
        assert "| large | – | 0.4000 |" in (tmp_path / "out" / "table_2.md").read_text(encoding="utf-8")

    def test_the_row_by_its_name_is_refused(self, run, work, tmp_path):
        with pytest.raises(InputError, match=rf"^large starts from {NEEDED}, .*: name its file with --pretrained\.$"):
            run(rows=["plain", "large"])
        assert not work.calls
        assert not (tmp_path / "out").exists()

    def test_other_rows_by_their_names(self, run, work):
        _, printed = run(rows=["plain"])
        assert "left out" not in printed
        assert starts(work) == {"plain": None}


class TestGiven:
    def test_only_the_training_that_needs_them_gets_them(self, run, work, checkpoint):
        frame, printed = run(pretrained=str(checkpoint))
        assert "left out" not in printed
        assert starts(work) == {"large": checkpoint, "plain": None}
        assert [o["pretrained"] for _, o in work.calls if "ckpt_path" in o] == [None, None]
        assert frame.loc["large", "mean measured"] == pytest.approx(score("large", 0, 2, 2))

    def test_relative_to_the_current_folder(self, run, work, checkpoint, monkeypatch):
        monkeypatch.chdir(checkpoint.parent)
        run(pretrained=checkpoint.name)
        assert starts(work)["large"] == checkpoint

    @pytest.mark.parametrize("rows", [None, ["large"], ["plain"]])
    def test_those_of_imagenet_are_others(self, run, work, tmp_path, rows):
        with pytest.raises(InputError, match=f"^large starts from {NEEDED}, not from ImageNet"):
            run(pretrained="imagenet", rows=rows)
        assert not work.calls
        assert not (tmp_path / "out").exists()

    def test_a_file_that_is_not_there(self, run, work, tmp_path):
        with pytest.raises(InputError, match=f"nowhere.pth is no file: large starts from {NEEDED}"):
            run(pretrained=str(tmp_path / "nowhere.pth"))
        assert not work.calls
        assert not (tmp_path / "out").exists()

    def test_no_row_has_a_use_for_them(self, run, work, checkpoint, tmp_path):
        with pytest.raises(InputError, match=r"^no row of table_2 starts from .* leave --pretrained out\.$"):
            run(PLAIN, pretrained=str(checkpoint))
        assert not work.calls
        assert not (tmp_path / "out").exists()

    def test_a_table_whose_rows_all_take_them(self, run, work):
        run(row("plain", {"mean": 0.5}), pretrained="imagenet")
        assert starts(work) == {"plain": "imagenet"}


class TestLater:
    def test_only_the_row_that_was_left_out_is_run(self, run, work, checkpoint):
        run()
        work.calls.clear()
        frame, _ = run(pretrained=str(checkpoint))
        assert work.trained() == work.evaluated() == [("large", 0)]
        assert frame["mean measured"].notna().all()

    def test_a_trained_row_needs_them_no_longer(self, run, work, checkpoint):
        first, _ = run(pretrained=str(checkpoint))
        work.calls.clear()
        checkpoint.unlink()
        for rows in (None, ["large"]):
            frame, printed = run(rows=rows)
            assert "left out" not in printed
            pd.testing.assert_frame_equal(frame, first)
        assert not work.calls

    def test_another_seed_needs_them(self, run, work, checkpoint):
        run(pretrained=str(checkpoint))
        work.calls.clear()
        frame, printed = run(seeds=2)
        assert "large is left out" in printed
        assert work.trained() == [("plain/seed_1", 1)]
        assert frame["seeds"].to_dict() == {"large": 1, "plain": 2}

    def test_rows_of_two_checkpoints_are_never_mixed(self, run, work, checkpoint, tmp_path):
        run()
        run(pretrained=str(checkpoint))
        other = tmp_path / "other.pth"
        other.touch()
        work.calls.clear()
        with pytest.raises(InputError, match="holds rows with another pretrained: name another folder"):
            run(pretrained=str(other))
        assert not work.calls

    def test_a_table_whose_rows_all_take_them_is_not_run_with_and_without(self, run, checkpoint):
        plain = row("plain", {"mean": 0.5})
        run(plain)
        with pytest.raises(InputError, match="holds rows with another pretrained"):
            run(plain, pretrained=str(checkpoint))


def test_the_option(tinylesions, bundle, work, dataset, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(BUNDLES, "bundle", bundle(NEEDING, PLAIN))
    command = ("experiment", "table_2", "--bundle", "bundle", "--dataset-dir", dataset, "--out", tmp_path / "out")
    assert "name its file with --pretrained" in tinylesions(*command, "--row", "large").problem
    answer = tinylesions(*command)
    assert answer.code == 0
    assert "large is left out" in answer.out
    assert tinylesions(*command, "--pretrained", checkpoint).code == 0
    assert starts(work) == {"plain": None, "large": checkpoint}
