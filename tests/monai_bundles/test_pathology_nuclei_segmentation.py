from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image
from sklearn.metrics import jaccard_score

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.networks import UNet, load_checkpoint

from .command_tester import Stage
from .config_tester import image_transforms, resolve
from .nuclei import CLASSES, MODELS, RESULTS, SMALL, SPLITS, TILES, combine, conic_arrays, read_map
from .tester import BundleTester, Road

WIDTHS = [2, 2, 4, 4, 4]


@pytest.mark.filterwarnings("ignore:no training pixel is of")
class TestPathologyNucleiSegmentation(BundleTester):
    name = "pathology_nuclei_imbalance_segmentation"
    dataset, photos = "conic_phantoms", TILES
    roads: ClassVar = {("train",): "run", ("train", "evaluate"): "evaluate", ("inference",): "inference"}
    parts: ClassVar = {"training", "training_multi", "training_binary", "class_weights_table", "merge_weights"}
    stages: ClassVar = tuple(
        Stage(checkpoint=f"{model}_checkpoint.pt", folder=model, overrides={"model": model}) for model in MODELS
    )
    weights = "."
    small: ClassVar = {**SMALL, "widths": WIDTHS, "architectures": dict.fromkeys(MODELS, "unet"), "roi_size": [64, 64]}
    short: ClassVar = {"learning_rate": 0.01, "num_workers": 0, "max_epochs": 2}
    killed: ClassVar = {"widths": [32, 32, 32, 32, 32], "max_epochs": 3}
    trained: ClassVar = (
        {f"models/{model}.pt" for model in MODELS}
        | {f"models/{model}_checkpoint.pt" for model in MODELS}
        | {f"output/{model}" for model in MODELS}
        | {"models/training.json", "output/class_frequencies.json"}
    )
    key_metric = "mean_iou"
    scores: ClassVar = {"scores.csv"}
    reports: ClassVar = {"differences.csv"}
    tables: ClassVar = {"nuclei.csv", "tiles.csv", "run.json"}
    predicted: ClassVar = {f"{result}.png" for result in RESULTS} | {
        "foreground.png",
        "overlay.jpg",
        "nuclei.csv",
        "summary.json",
    }

    def run(self, configs: tuple[str, ...], overrides: dict[str, Any]) -> ConfigWorkflow:
        """Train both networks."""
        workflow_type = "infer" if "inference" in configs else "train"
        run_id = self.training_id if configs == ("train",) else self.roads[configs]
        workflow = build_workflow(self.bundle, configs, overrides, workflow_type, run_id)
        run_workflow(workflow)
        return workflow

    def export(self, road: Road, exporter: Any, path: Path) -> tuple[torch.nn.Module, torch.Tensor]:
        """Export the two trained networks as one."""
        models = shutil.copytree(road.models, path.parent / "models")
        overrides = {**self.small, "ckpt_path": models.as_posix()}
        run_workflow(build_workflow(self.bundle, ["inference"], overrides, "infer", "merge_weights"))
        return super().export(replace(road, models=models), exporter, path)

    def test_training_and_inference_agree(self):
        train, evaluate, inference = (
            self.merged(configs) for configs in (("train",), ("train", "evaluate"), ("inference",))
        )
        expected = image_transforms(inference["preprocessing"]["transforms"], inference)
        assert len(expected) == 3
        found = [
            (train["train"]["deterministic_transforms"], train),
            (resolve(train["validate"]["preprocessing"]["transforms"], train), train),
            (evaluate["validate"]["preprocessing"]["transforms"], evaluate),
        ]
        for transforms, config in found:
            assert [one_image(part) for part in image_transforms(transforms, config)] == expected
        for key in ("overlap", "architectures", "widths", "network_types", "models"):
            assert train[key] == inference[key], key
        from_the_record = ("network_def", "class_names", "spatial_size", "roi_size")
        for key in (*from_the_record, "checkpoints", "trained_models", "minimum_area"):
            assert evaluate[key] == inference[key], key
        parts = [config["postprocessing"]["transforms"] for config in (evaluate["validate"], inference)]
        scored, written = ([{**part} for part in transforms] for transforms in parts)
        scored[1]["transform"] = written[1]["transform"]  # each goes back what it went itself
        assert scored[:3] == written[:3]

    def network(self, road: Road, model: str) -> torch.nn.Module:
        """A trained network, built without the configs."""
        network = UNet(in_channels=3, out_channels=len(CLASSES) if model == "multi_class" else 1, widths=WIDTHS)
        return load_checkpoint(network, road.models / f"{model}.pt").eval()

    def logits(self, road: Road, model: str, tile: np.ndarray) -> np.ndarray:
        """(classes, H, W) of a tile of 64x64, which is one window."""
        with torch.inference_mode():
            return self.network(road, model)(torch.from_numpy(tile / 255).float().permute(2, 0, 1)[None])[0].numpy()

    def test_prediction_is_what_the_networks_say(self, road):
        tiles = sorted((road.data / TILES).iterdir())
        assert len(tiles) == 4
        for path in tiles:
            tile = np.asarray(Image.open(path))
            classes, (foreground,) = (self.logits(road, model, tile) for model in MODELS)
            found = {result: read_map(road.prediction / path.stem / f"{result}.png") for result in RESULTS}
            # where two classes are as good as equally probable, either may be written
            first, second = np.sort(classes, axis=0)[[-1, -2]]
            clear = (first - second > 1e-4) & (abs(foreground) > 1e-4)
            assert clear.mean() > 0.99
            np.testing.assert_array_equal(found["multi_class"][clear], classes.argmax(0)[clear])
            np.testing.assert_array_equal(found["binary"][clear], foreground[clear] > 0)
            np.testing.assert_array_equal(found["combined"], combine(found["multi_class"], found["binary"]))
            written = np.asarray(Image.open(road.prediction / path.stem / "foreground.png")) / 65535
            np.testing.assert_allclose(written, 1 / (1 + np.exp(-foreground.astype(float))), rtol=0, atol=2 / 65535)
            assert written.std() > 1e-4

    def test_the_best_validation_is_kept(self, road):
        """Scored again by scikit-learn, over all pixels of the tiles to validate on."""
        images, truth = (array[SPLITS["validation"]] for array in conic_arrays(road.data))
        for model in MODELS:
            checkpoint = torch.load(road.models / f"{model}_checkpoint.pt", weights_only=True)
            validations = pd.read_csv(road.output / model / "metrics.csv")[self.key_metric]
            assert len(validations) == 2
            assert checkpoint["best_model"]["best"] == pytest.approx(validations.max(), abs=1e-6)
            logits = np.stack([self.logits(road, model, image) for image in images])
            found = logits.argmax(1) if model == "multi_class" else logits[:, 0] > 0
            true = truth if model == "multi_class" else truth > 0
            score = jaccard_score(true.ravel(), found.ravel(), labels=np.unique(true), average="macro")
            assert validations.max() == pytest.approx(score, abs=1e-4)


def one_image(transform: dict[str, Any]) -> dict[str, Any]:
    """A transform of image and label as it is of the image alone."""
    return {
        key: value[0] if key in ("mode", "anti_aliasing") and isinstance(value, list) else value
        for key, value in transform.items()
    }
