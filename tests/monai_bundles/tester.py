"""What every bundle must do, once; each bundle's test is a small subclass."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import onnxruntime
import pandas as pd
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow, ckpt_export, onnx_export, verify_net_in_out
from monai.data import load_net_with_metadata
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.networks import load_checkpoint

from .command_tester import CommandTester
from .config_tester import ConfigTester
from .configs import read_json


@dataclass(frozen=True)
class Road:
    """What the training, the evaluations and the inference of a bundle left."""

    data: Path
    models: Path
    output: Path
    prediction: Path
    workflows: dict[tuple[str, ...], ConfigWorkflow]


@pytest.mark.filterwarnings("ignore:.*photos for training/validation/test")
class BundleTester(ConfigTester, CommandTester):
    """Subclasses say which phantoms the bundle reads, what makes it small, and what it leaves."""

    dataset: str
    """Fixture that gives the root of the phantoms."""
    photos: str
    """Folder below it with the photos to predict."""
    trained: ClassVar[set[str]] = {"models/model.pt", "models/checkpoint.pt", "output/run.json", "output/metrics.csv"}
    """Files and folders that a training leaves."""
    weights: ClassVar[str] = "model.pt"
    """What evaluations and inferences load, below the folder of the models; "." where it is that folder."""
    scores: ClassVar[set[str]]
    """Tables of the evaluations."""
    pictures: ClassVar[set[str]] = set()
    """Folders of pictures that evaluations draw."""
    reports: ClassVar[set[str]] = set()
    """Other files of the evaluations."""
    tables: ClassVar[set[str]]
    """Tables of an inference."""
    predicted: ClassVar[set[str]]
    """Files of each predicted photo."""
    key_metric: str
    absent: ClassVar[dict[str, set[str]]] = {
        "training": {"train_postprocessing", "train_key_metric"},  # a loss is all that is known of windows
        "inference": {"key_metric"},  # there is no truth
    }
    """MONAI's optional properties that the bundle does without."""
    not_run: ClassVar[set[tuple[str, ...]]] = set()
    """Roads whose configs are checked, and which `road` does not walk."""

    def data_overrides(self, data: Path, folder: Path) -> dict[str, Any]:
        """What leads a training and an evaluation to the phantoms and to their own folders."""
        return {
            **self.small,
            **self.short,
            "dataset_dir": data.as_posix(),
            "ckpt_dir": (folder / "models").as_posix(),
            "output_dir": (folder / "output").as_posix(),
        }

    def run(self, configs: tuple[str, ...], overrides: dict[str, Any]) -> ConfigWorkflow:
        workflow_type = "infer" if "inference" in configs else "train"
        workflow = build_workflow(self.bundle, configs, overrides, workflow_type, self.roads[configs])
        run_workflow(workflow)
        return workflow

    def spy_on_epochs(self, workflow: ConfigWorkflow) -> list[tuple[str, int]]:
        """What each epoch of an initialised training adds to: its trainer and its number."""
        epochs: list[tuple[str, int]] = []
        for id in dict.fromkeys(stage.trainer for stage in self.stages):
            trainer = workflow.parser.get_parsed_content(id)
            trainer.add_event_handler(
                Events.EPOCH_STARTED, lambda engine, id: epochs.append((id, engine.state.epoch)), id
            )
        return epochs

    def infer(self, photos: Path, folder: Path, network: torch.nn.Module) -> None:
        """Predict with a network that stands for a trained one."""
        torch.save({}, folder / "no_weights.pt")
        places = {"dataset_dir": str(photos), "output_dir": str(folder), "ckpt_path": str(folder / "no_weights.pt")}
        self.run(("inference",), {**self.small, **places, "network_def": network})

    @pytest.fixture(scope="class")
    def road(self, request, tmp_path_factory) -> Road:
        data, folder = request.getfixturevalue(self.dataset), tmp_path_factory.mktemp(self.name)
        road = Road(data, folder / "models", folder / "output", folder / "prediction", {})
        weights = (road.models / self.weights).as_posix()
        for configs in self.roads:
            if configs in self.not_run:
                continue
            if configs == ("inference",):
                places = {"dataset_dir": (data / self.photos).as_posix(), "output_dir": road.prediction.as_posix()}
                overrides = {**self.small, **places, "ckpt_path": weights}
            else:
                overrides = self.data_overrides(data, folder)
                overrides |= {"ckpt_path": weights} if "evaluate" in configs else {}
            road.workflows[configs] = self.run(configs, overrides)
        return road

    @pytest.mark.parametrize(("config", "purpose"), [("train", "training"), ("inference", "inference")])
    def test_monai_finds_its_properties(self, road, config, purpose):
        workflow = road.workflows[(config,)]
        assert workflow.check_properties() == []
        assert {name for name in workflow.properties if getattr(workflow, name) is None} == self.absent[purpose]

    def test_training_leaves_its_files(self, road):
        folder = road.models.parent
        found = {
            path.relative_to(folder).as_posix() for name in ("models", "output") for path in (folder / name).iterdir()
        }
        events = {name for name in found if "events.out.tfevents" in name}
        evaluated = self.scores | self.pictures | self.reports
        assert found - events == self.trained | {f"output/{name}" for name in evaluated}
        validated: Counter[str] = Counter()
        for stage in self.stages:
            settings = read_json(road.output / stage.folder / "run.json")["settings"]
            log = EventAccumulator(str(road.output / stage.folder)).Reload()
            assert settings[stage.epochs] == self.short[stage.epochs]
            trainer = torch.load(road.models / stage.checkpoint, weights_only=True)["trainer"]
            iterations = trainer["iteration"]
            assert iterations == self.short[stage.epochs] * trainer["epoch_length"] > 0
            assert [event.step for event in log.Scalars(stage.loss)] == list(range(1, iterations + 1))
            validated[stage.folder] += self.short[stage.epochs]
        for name, epochs in validated.items():
            log = EventAccumulator(str(road.output / name)).Reload()
            assert [event.step for event in log.Scalars(self.key_metric)] == list(range(1, epochs + 1))

    def test_scores_are_shares(self, road):
        for name in self.scores:
            table = pd.read_csv(road.output / name, index_col=0)
            assert table.size
            assert table.isna().to_numpy().sum() < table.size
            least = table.index.str.startswith("kappa").astype(int) * -1  # of answers worse than chance
            assert (table.ge(least, axis=0) & (table <= 1) | table.isna()).to_numpy().all()

    def test_inference_leaves_its_files(self, road):
        ids = {path.stem for path in (road.data / self.photos).iterdir()}
        assert ids
        assert {path.name for path in road.prediction.iterdir()} == ids | self.tables
        for id_ in ids:
            assert {path.name for path in (road.prediction / id_).iterdir()} == self.predicted

    def test_training_goes_on(self, road, tmp_path):
        shutil.copytree(road.models, tmp_path / "models")
        last = self.stages[-1]
        overrides = {**self.data_overrides(road.data, tmp_path), **last.overrides}
        done = overrides[last.epochs]
        # as if the training had been stopped an epoch before its end
        state = torch.load(tmp_path / "models" / last.checkpoint, weights_only=True)
        state["settings"][last.epochs] = done + 1
        torch.save(state, tmp_path / "models" / last.checkpoint)
        run_id = self.roads[("train",)]
        workflow = build_workflow(self.bundle, ["train"], {**overrides, last.epochs: done + 1}, "train", run_id)
        workflow.initialize()
        epochs = self.spy_on_epochs(workflow)
        workflow.run()
        assert epochs == [(last.trainer, done + 1)]
        before, after = (
            torch.load(folder / last.checkpoint, weights_only=True) for folder in (road.models, tmp_path / "models")
        )
        assert after["trainer"]["iteration"] == (done + 1) * before["trainer"]["epoch_length"]
        assert any((before["network"][key] != after["network"][key]).any() for key in before["network"])

    def test_network_takes_and_gives_what_the_metadata_says(self):
        (config,) = self.bundle.config_files("inference")
        metadata = str(self.config_dir / "metadata.json")
        for n in (1, 2):
            verify_net_in_out("network_def", meta_file=metadata, config_file=config, device="cpu", n=n)

    def export(self, road: Road, exporter: Any, path: Path) -> tuple[torch.nn.Module, torch.Tensor]:
        """Export the trained network; return it and an input of the size that the metadata names."""
        weights = road.models / "model.pt"
        (config,) = self.bundle.config_files("inference")
        metadata = self.config_dir / "metadata.json"
        exporter(
            net_id="network_def",
            filepath=str(path),
            ckpt_file=str(weights),
            meta_file=str(metadata),
            config_file=config,
            **self.small,
        )
        workflow = road.workflows[("inference",)]
        network = load_checkpoint(workflow.network_def, weights).eval()
        image = read_json(metadata)["network_data_format"]["inputs"]["image"]
        sides = [int(str(side).removesuffix("*n")) for side in image["spatial_shape"]]
        return network, torch.rand(1, image["num_channels"], *sides, generator=torch.Generator().manual_seed(0))

    def test_torchscript_export(self, road, tmp_path):
        network, image = self.export(road, ckpt_export, tmp_path / "model.ts")
        exported, metadata, files = load_net_with_metadata(
            str(tmp_path / "model.ts"), more_extra_files=("inference.json",)
        )
        assert metadata["version"] == read_json(self.config_dir / "metadata.json")["version"]
        assert b"network_def" in files["inference.json"]
        with torch.inference_mode():
            torch.testing.assert_close(exported.eval()(image), network(image))

    @pytest.mark.slow
    def test_onnx_export(self, road, tmp_path):
        network, image = self.export(road, onnx_export, tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        (output,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        with torch.inference_mode():
            torch.testing.assert_close(torch.from_numpy(output), network(image), rtol=1e-4, atol=1e-4)
