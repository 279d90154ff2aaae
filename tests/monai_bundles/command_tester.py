"""What every bundle must do when MONAI's own command runs it, in processes of its own: these tests take minutes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tinylesions.monai_bundles import Bundle


@dataclass(frozen=True)
class Stage:
    """One trainer of a bundle: its id, what it logs, where it keeps its state and what says how long it trains.

    Where one trainer trains several networks, each is a stage, with overrides that choose it and an output folder.
    """

    trainer: str = "train#trainer"
    loss: str = "train_loss"
    checkpoint: str = "checkpoint.pt"
    epochs: str = "max_epochs"
    folder: str = "."
    overrides: Mapping[str, Any] = field(default_factory=dict)


class CommandTester:
    """Subclasses give what makes the bundle small and its training short."""

    bundle: Bundle
    dataset: str
    key_metric: str
    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)
    """The trainers, in the order in which a training runs them."""
    training_id: ClassVar[str] = "training"
    """The id that runs them all."""
    trained: ClassVar[set[str]]
    small: ClassVar[dict[str, Any]]
    """Overrides of every config: a tiny network, on the CPU."""
    short: ClassVar[dict[str, Any]]
    """Overrides of train.json: a second or two of training."""
    killed: ClassVar[dict[str, Any]]
    """More of them: several epochs of a second or more, so that one can be interrupted."""

    def data_overrides(self, data: Path, folder: Path) -> dict[str, Any]:
        raise NotImplementedError

    def command(self, overrides: dict[str, Any]) -> list[str]:
        files = [Path(file).as_posix() for file in self.bundle.config_files("train")]
        overrides = {"bundle_root": self.bundle.root.as_posix(), "config_file": str(files), **overrides}
        pairs = [part for key, value in overrides.items() for part in (f"--{key}", str(value))]
        return [sys.executable, "-m", "monai.bundle", "run", self.training_id, *pairs]

    def run_command(self, overrides: dict[str, Any], folder: Path) -> None:
        answer = subprocess.run(self.command(overrides), cwd=folder, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr

    @pytest.fixture
    def data(self, request) -> Path:
        return request.getfixturevalue(self.dataset)

    @pytest.mark.slow
    def test_training_starts_from_any_folder(self, data, tmp_path):
        self.run_command(self.data_overrides(data, tmp_path / "results"), tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"results"}
        models = {f"models/{path.name}" for path in (tmp_path / "results" / "models").iterdir()}
        assert models == {name for name in self.trained if name.startswith("models/")}

    @pytest.mark.slow
    def test_mlflow_tracks_the_training(self, data, tmp_path):
        mlflow = pytest.importorskip("mlflow")
        overrides = self.data_overrides(data, tmp_path)
        self.run_command({**overrides, "tracking": "mlflow"}, tmp_path)
        database = tmp_path / "output" / "mlruns.db"
        assert database.is_file()
        client = mlflow.MlflowClient(f"sqlite:///{database.as_posix()}")
        runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        tracked = {name for run in runs for name in run.data.metrics}
        assert any(name.endswith("loss") for name in tracked)
        assert self.key_metric in tracked

    @pytest.mark.slow
    def test_a_killed_training_goes_on_as_if_nothing_had_happened(self, data, tmp_path):
        self.run_command(self.data_overrides(data, tmp_path / "whole") | self.killed, tmp_path)
        for stage in self.stages:
            self.kill_and_go_on(data, tmp_path / Path(stage.checkpoint).stem, stage, tmp_path / "whole" / "models")

    def kill_and_go_on(self, data: Path, folder: Path, stage: Stage, whole: Path) -> None:
        """Kill a training within a stage, go on, and compare what it leaves with the models of a whole one."""
        folder.mkdir()
        cut, models = self.data_overrides(data, folder) | self.killed, folder / "models"
        process = subprocess.Popen(self.command(cut), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not (models / stage.checkpoint).is_file() and process.poll() is None:
                time.sleep(0.01)
            time.sleep(0.2)  # into the next epoch
        finally:
            process.kill()
            process.wait()
        done = [iterations(models / each.checkpoint) for each in self.stages]
        total = [iterations(whole / each.checkpoint) for each in self.stages]
        place = self.stages.index(stage)
        assert 0 < done[place] < total[place]
        assert done[:place] == total[:place]
        assert not any(done[place + 1 :])

        self.run_command({**cut, "output_dir": (folder / "rest").as_posix()}, folder)
        for each, before, after in zip(self.stages, done, total, strict=True):
            log = EventAccumulator(str(folder / "rest" / each.folder)).Reload()
            steps = [event.step for event in log.Scalars(each.loss)] if each.loss in log.Tags()["scalars"] else []
            assert steps == list(range(before + 1, after + 1)), "it went on, and did not start anew"
        assert {path.name for path in models.iterdir()} == {path.name for path in whole.iterdir()}
        for path in whole.glob("*.pt"):
            expected, found = (torch.load(file, weights_only=True) for file in (path, models / path.name))
            if "settings" in found:
                assert found.pop("settings") == expected.pop("settings")
            logs = [str(state.pop("metrics_log", None)) for state in (found, expected)]
            assert logs[0] == logs[1]  # as text, where a score without a value (NaN) is equal to itself
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def iterations(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["trainer"]["iteration"] if checkpoint.is_file() else 0
