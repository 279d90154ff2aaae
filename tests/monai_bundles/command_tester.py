"""What every bundle must do when MONAI's own command runs it, in processes of its own: these tests take minutes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tinylesions.monai_bundles import Bundle


class CommandTester:
    """Subclasses give what makes the bundle small and its training short."""

    bundle: Bundle
    dataset: str
    key_metric: str
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
        return [sys.executable, "-m", "monai.bundle", "run", "training", *pairs]

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
        assert (tmp_path / "results" / "models" / "model.pt").is_file()

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
        whole, cut = ({**self.data_overrides(data, tmp_path / name), **self.killed} for name in ("whole", "cut"))
        self.run_command(whole, tmp_path)

        checkpoint = tmp_path / "cut" / "models" / "checkpoint.pt"
        process = subprocess.Popen(
            self.command(cut), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while not checkpoint.is_file() and process.poll() is None:
                time.sleep(0.01)
            time.sleep(0.2)  # into the next epoch
        finally:
            process.kill()
            process.wait()
        whole_models, cut_models = (tmp_path / name / "models" for name in ("whole", "cut"))
        done, total = iterations(cut_models), iterations(whole_models)
        assert 0 < done < total

        self.run_command({**cut, "output_dir": (tmp_path / "rest").as_posix()}, tmp_path)
        steps = [event.step for event in EventAccumulator(str(tmp_path / "rest")).Reload().Scalars("train_loss")]
        assert steps == list(range(done + 1, total + 1)), "it went on, and did not start anew"
        for name in ("checkpoint.pt", "model.pt"):
            expected, found = (torch.load(folder / name, weights_only=True) for folder in (whole_models, cut_models))
            if "settings" in found:
                assert found.pop("settings") == expected.pop("settings")
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def iterations(models: Path) -> int:
    return torch.load(models / "checkpoint.pt", weights_only=True)["trainer"]["iteration"]
