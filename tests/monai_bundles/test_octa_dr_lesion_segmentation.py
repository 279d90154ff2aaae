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
from sklearn.metrics import f1_score

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import OCTA_LESIONS
from tinylesions.networks import UNet, UNetPlusPlus, load_checkpoint

from .command_tester import Stage
from .config_tester import image_transforms, resolve
from .octa import CODES, TEST_IMAGES, TRAINING_IMAGES, network_input, official_masks
from .pixels import enlarge, read_maps, shrink
from .tester import BundleTester, Road

SIZE = (64, 80)


@pytest.mark.filterwarnings("ignore:.*training images, ", "ignore:the challenge takes 65 images")
class TestOctaDrLesionSegmentation(BundleTester):
    name = "octa_dr_lesion_segmentation"
    dataset, photos = "drac_phantoms", TEST_IMAGES
    parts: ClassVar = {"training_all", "drac_submission", "merge_weights"}
    stages: ClassVar = tuple(
        Stage(checkpoint=f"{code}_checkpoint.pt", folder=code, overrides={"lesion": code}) for code in CODES
    )
    training_id, weights = "training_all", "."
    small: ClassVar = {
        "widths": [2, 2, 4, 4, 4],
        "spatial_size": list(SIZE),
        "device": "$torch.device('cpu')",
        "precision": "float32",
    }
    short: ClassVar = {
        **{f"schedules#{name}#learning_rate": 0.01 for name in ("unet", "unet_plus_plus_attention")},
        "num_workers": 0,
        "max_epochs": 2,
    }
    killed: ClassVar = {"spatial_size": [256, 256], "widths": [8, 8, 8, 8, 8], "max_epochs": 3}
    trained: ClassVar = (
        {f"models/{code}.pt" for code in CODES}
        | {f"models/{code}_checkpoint.pt" for code in CODES}
        | {f"output/{code}" for code in CODES}
    )
    key_metric = "mean_dice"
    scores: ClassVar = {"scores.csv"}
    reports: ClassVar = {"image_scores.csv"}
    tables: ClassVar = {"lesions.csv", "photos.csv", "run.json", "submission", "submission_order.csv"}
    predicted: ClassVar = {f"{lesion}{kind}.png" for lesion in OCTA_LESIONS for kind in ("", "_mask")} | {
        "overlay.jpg",
        "lesions.csv",
        "summary.json",
    }

    def run(self, configs: tuple[str, ...], overrides: dict[str, Any]) -> ConfigWorkflow:
        """Train all three lesions, and predict what the challenge takes."""
        more = {("train",): self.training_id, ("inference",): "drac_submission"}
        workflow_type = "infer" if "inference" in configs else "train"
        workflow = build_workflow(
            self.bundle, configs, overrides, workflow_type, more.get(configs) or self.roads[configs]
        )
        run_workflow(workflow)
        return workflow

    def export(self, road: Road, exporter: Any, path: Path) -> tuple[torch.nn.Module, torch.Tensor]:
        """Export the three trained networks as one."""
        models = shutil.copytree(road.models, path.parent / "models")
        overrides = {**self.small, "ckpt_path": models.as_posix()}
        run_workflow(build_workflow(self.bundle, ["inference"], overrides, "infer", "merge_weights"))
        return super().export(replace(road, models=models), exporter, path)

    def test_training_and_inference_agree(self):
        train, evaluate, inference = (
            self.merged(configs) for configs in (("train",), ("train", "evaluate"), ("inference",))
        )
        expected = image_transforms(inference["preprocessing"]["transforms"], inference)
        assert expected
        assert image_transforms(train["train"]["deterministic_transforms"], train) == expected
        assert image_transforms(resolve(train["validate"]["preprocessing"]["transforms"], train), train) == expected
        assert image_transforms(evaluate["validate"]["preprocessing"]["transforms"], evaluate) == expected
        for key in ("spatial_size", "architectures", "widths", "codes"):
            assert train[key] == inference[key]
        for key in ("network_def", "checkpoints", "lesions"):
            assert evaluate[key] == inference[key]
        for config in (train, evaluate):
            types = {name: dict(network) for name, network in config["network_types"].items()}
            for only_of_trainings in ("pretrained", "freeze_encoder"):
                types["sam_adapter"].pop(only_of_trainings)
            assert types == inference["network_types"]

    def network(self, road: Road, code: str) -> torch.nn.Module:
        """The trained network of a lesion, built without the configs."""
        widths = self.small["widths"]
        network = UNet(widths=widths) if code == "NV" else UNetPlusPlus(widths=widths, channel_attention=True)
        return load_checkpoint(network, road.models / f"{code}.pt").eval()

    def probability(self, network: torch.nn.Module, path: Path) -> np.ndarray:
        """(H, W) at the network's size."""
        image = torch.from_numpy(network_input(path, SIZE)).float()
        with torch.inference_mode():
            return network(image[None, None]).sigmoid()[0, 0].numpy()

    def test_prediction_is_what_the_networks_say(self, road):
        for code, lesion in CODES.items():
            network = self.network(road, code)
            for path in (road.data / TEST_IMAGES).iterdir():
                expected = enlarge(self.probability(network, path), (128, 128))
                (found,) = read_maps(road.prediction / path.stem, [lesion])
                assert found.std() > 1e-4
                np.testing.assert_allclose(found, expected, rtol=0, atol=2 / 65535)

    def test_the_best_validation_is_kept(self, road):
        """Scored again by scikit-learn, at the networks' size, on the images that hold the lesion."""
        for code, lesion in CODES.items():
            checkpoint = torch.load(road.models / f"{code}_checkpoint.pt", weights_only=True)
            validations = pd.read_csv(road.output / code / "metrics.csv")[self.key_metric]
            assert checkpoint["best_model"]["best"] == pytest.approx(validations.max(), abs=1e-6)
            network, scores = self.network(road, code), []
            for id_ in ("2", "29"):
                masks = official_masks(road.data, id_)
                if lesion in masks:
                    truth = shrink(masks[lesion], SIZE, np.max).ravel()
                    found = self.probability(network, road.data / TRAINING_IMAGES / f"{id_}.png") >= 0.5
                    scores.append(f1_score(truth, found.ravel()))
            assert len(scores) == (1 if code == "NV" else 2)
            assert validations.max() == pytest.approx(np.mean(scores), abs=1e-4)
