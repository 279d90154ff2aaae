"""Small trainings, evaluations and inferences of the light network on phantoms."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import LESIONS
from tinylesions.monai_bundles import find_bundle
from tinylesions.networks import EfficientNetUNet, load_checkpoint

from .configs import merge

BUNDLE = find_bundle("fundus_multi_lesion_segmentation")
WIDTHS = [2, 4, 4, 8]
SMALL: dict[str, Any] = {
    "device": "$torch.device('cpu')",
    "precision": "float32",
    "longest_side": 112,
    "roi_size": [64, 64],
    "crops_per_epoch": 4,
    "batch_size": 2,
    "max_epochs": 2,
    "widths": WIDTHS,
    "nested": True,
    "pretrained": None,
    "flips": [[], [1]],
}
"""Overrides of train_light.json; an inference needs none but the device, it reads the others beside the weights."""


def places(data: Path, folder: Path) -> dict[str, str]:
    """What leads a training and an evaluation to the photos and to their own folders."""
    return {
        "dataset_dir": data.as_posix(),
        "ckpt_dir": (folder / "models").as_posix(),
        "output_dir": (folder / "output").as_posix(),
    }


def training(data: Path, folder: Path, **overrides: Any) -> ConfigWorkflow:
    """A training that is not started."""
    return build_workflow(BUNDLE, ["train_light"], {**SMALL, **places(data, folder), **overrides}, "train", "training")


def evaluate(data: Path, folder: Path, **overrides: Any) -> None:
    overrides = {**SMALL, **places(data, folder), **overrides}
    run_workflow(build_workflow(BUNDLE, ["train_light", "evaluate"], overrides, "train", "evaluate"))


def infer(photos: Path, output: Path, weights: Path) -> ConfigWorkflow:
    overrides = {
        "dataset_dir": photos.as_posix(),
        "output_dir": output.as_posix(),
        "ckpt_path": weights.as_posix(),
        "device": SMALL["device"],
        "precision": SMALL["precision"],
    }
    workflow = build_workflow(BUNDLE, ["inference"], overrides, "infer", "inference")
    run_workflow(workflow)
    return workflow


def parse(*configs: str, **overrides: Any) -> ConfigParser:
    """Configs to look at one of their parts."""
    parser = merge(BUNDLE.config_files(*configs))
    parser.update(overrides)
    return parser


def settle(models: Path, settled: Path, photo: torch.Tensor) -> dict[str, float]:
    """Copy a training's folder, with batch norms that know their inputs, as after many more iterations.

    After four, the network gives the same probability everywhere.

    Args:
        models: the training's folder.
        settled: the folder to write.
        photo: (3, H, W), what the network gets.

    Returns:
        Thresholds above nine tenths of the photo's probabilities.
    """
    shutil.copytree(models, settled)
    network = load_checkpoint(EfficientNetUNet(widths=WIDTHS, nested=True), models / "model.pt").train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.stack([photo, photo.flip(2)]))
        probability = network.eval()(photo[None])[0].sigmoid()
    torch.save(network.state_dict(), settled / "model.pt")
    return dict(zip(LESIONS, probability.flatten(1).quantile(0.9, dim=1).tolist(), strict=True))
