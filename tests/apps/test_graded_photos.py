"""`tinylesions predict` with a bundle whose network gives a grade and lesions, in a dict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import LESIONS
from tinylesions.datasets.grades import GRADES
from tinylesions.inferers import GradCamMaps
from tinylesions.monai_bundles import BUNDLES

from .conftest import Answer, CopiedBundle

FILES = {*(f"{lesion}.png" for lesion in LESIONS), "label_map.png", "overlay.jpg", "lesions.csv", "summary.json"}


class TwoTasks(nn.Module):
    """The smallest network of both tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.grading = nn.Linear(8, 5)
        self.segmenting = nn.Conv2d(8, 5, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.encoder(images)
        return {"grade": self.grading(features.mean(dim=(2, 3))), "segmentation": self.segmenting(features)}


CONFIG: dict[str, Any] = {
    "imports": [
        "$import tinylesions.datasets as datasets",
        "$import tinylesions.networks as networks",
        "$import tinylesions.transforms as transforms",
    ],
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/data'",
    "ckpt_path": "$@bundle_root + '/models/model.pt'",
    "output_dir": "$@bundle_root + '/output'",
    "device": "$torch.device('cpu')",
    "spatial_size": [48, 64],
    "precision": "float32",
    "explain": False,
    "network_def": {"_target_": f"{TwoTasks.__module__}.TwoTasks"},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "tinylesions.transforms.LoadPhotod", "keys": "image"},
            {"_target_": "tinylesions.transforms.FieldOfViewMaskd", "keys": "image"},
            {"_target_": "tinylesions.transforms.ResizeToSized", "keys": "image", "spatial_size": "@spatial_size"},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0, "b_max": 1},
        ],
    },
    "grad_cam": {
        "_target_": "tinylesions.inferers.GradCamMaps",
        "layers": {"grade_evidence": ["grade", "encoder"]},
    },
    "inferer": {
        "_target_": "tinylesions.inferers.WholeImageInferer",
        "precision": "@precision",
        "explainer": "$@grad_cam if @explain else None",
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "FlattenSubKeysd", "keys": "pred", "prefix": "pred"},
            {"_target_": "tinylesions.transforms.GradePhotod", "keys": "pred_grade"},
            {"_target_": "Activationsd", "keys": "pred_segmentation", "softmax": True},
            {
                "_target_": "Invertd",
                "keys": ["pred_segmentation", "pred_grade_evidence"],
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": False,
                "allow_missing_keys": True,
            },
            {
                "_target_": "tinylesions.transforms.SaveLesionsd",
                "keys": "pred_segmentation",
                "output_dir": "@output_dir",
                "classes": "$datasets.CLASSES[:5]",
            },
        ],
    },
    "photos": "$datasets.find_photos([@dataset_dir])",
    "dataset": {
        "_target_": "Dataset",
        "data": "$[{'id': path.stem, 'image': str(path), 'photo': str(path)} for path in @photos]",
        "transform": "@preprocessing",
    },
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
    },
    "initialize": ["$networks.load_checkpoint(@network_def, @ckpt_path)"],
    "run": ["$@evaluator.run()"],
}


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> CopiedBundle:
    folder = tmp_path / "two_tasks"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "configs" / "metadata.json").write_text('{"version": "0.0.1"}', encoding="utf-8")
    bundle = CopiedBundle(folder.name, "Grade and lesions", LESIONS, folder)
    monkeypatch.setitem(BUNDLES, bundle.name, bundle)
    bundle.weights.parent.mkdir()
    torch.save(network().state_dict(), bundle.weights)
    return bundle


def network() -> TwoTasks:
    torch.manual_seed(0)
    made = TwoTasks().eval()
    nn.init.normal_(made.segmenting.weight, std=10)  # else one class is everywhere
    return made


@pytest.fixture
def run(tinylesions, bundle, tmp_path):
    def predict(*arguments: object) -> Answer:
        return tinylesions("predict", *arguments, "--bundle", bundle.name, "--out", tmp_path / "out")

    return predict


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_words_and_files(run, dataset, tmp_path):
    answer = run(dataset / "A. Segmentation" / "1. Original Images")
    assert (answer.code, answer.err) == (0, "")
    photos = pd.read_csv(tmp_path / "out" / "photos.csv")
    told = [f"grade {row.grade}, {row.grade_name}" for row in photos.itertuples()]
    expected = ["3 photos: each as a whole, stretched to 64×48 px"]
    for number, (name, grade) in enumerate(zip(("IDRiD_01", "IDRiD_02", "IDRiD_55"), told, strict=True), start=1):
        expected += [f"[{number}/3] {name}.jpg: 64×48 px, as a whole", f"[{number}/3] {name}.jpg: {grade}"]
        assert names(tmp_path / "out" / name) == FILES
    assert answer.out.splitlines() == [*expected, f"3 photos predicted: see {tmp_path / 'out'}"]


def test_results_are_those_of_the_network_step_by_step(run, image, photo, tmp_path):
    assert run(photo, "--explain").code == 0
    folder = tmp_path / "out" / "IDRiD_01"
    assert names(folder) == FILES | {"grade_evidence.jpg"}
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255
    small = functional.interpolate(pixels, size=(48, 64), mode="area")
    with torch.no_grad():
        outputs = network()(small)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    probabilities = outputs["grade"][0].softmax(dim=0)
    assert summary["grade"] == probabilities.argmax().item()
    assert summary["grade_name"] == GRADES[summary["grade"]]
    for grade, probability in enumerate(probabilities.tolist()):
        assert summary[f"grade_probability_{grade}"] == pytest.approx(probability, abs=1e-5)
    large = functional.interpolate(outputs["segmentation"].softmax(dim=1), size=(192, 256), mode="bilinear")[0]
    for lesion, expected in zip(LESIONS, large[1:].numpy(), strict=True):
        with Image.open(folder / f"{lesion}.png") as file:
            np.testing.assert_allclose(np.asarray(file) / 65535, expected, atol=1e-4)
    evidence = GradCamMaps({"evidence": ("grade", "encoder")})(small, network())["evidence"]
    evidence = functional.interpolate(evidence, size=(192, 256), mode="bilinear")[0, 0].numpy()
    with Image.open(folder / "grade_evidence.jpg") as file:
        changed = np.abs(np.asarray(file)[:192].astype(int) - np.asarray(image)).max(axis=-1)
    assert np.corrcoef(changed.ravel(), evidence.ravel())[0, 1] > 0.5


def test_same_files_as_the_bundles_own_run(run, bundle, photo, tmp_path):
    """MONAI's engine, which decollates the dict."""
    assert run(photo, "--explain").code == 0
    places = {"dataset_dir": photo, "output_dir": tmp_path / "monai", "explain": True}
    run_workflow(build_workflow(bundle, ["inference"], places, "infer"))
    for name in FILES - {"summary.json"} | {"grade_evidence.jpg"}:
        ours, theirs = (tmp_path / folder / "IDRiD_01" / name for folder in ("out", "monai"))
        assert ours.read_bytes() == theirs.read_bytes()


def test_explained_photos_are_others_than_those_without(run, photo, tmp_path):
    run(photo)
    assert "1 photo predicted: see" in run(photo, "--explain").out
    assert "1 already done" in run(photo, "--explain").out
    assert (tmp_path / "out" / "IDRiD_01" / "grade_evidence.jpg").exists()
    settings = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["overrides"], settings["spatial_size"]) == ({"explain": True}, [48, 64])


def test_no_explanation_from_a_bundle_that_does_not_grade(predict, photo, tmp_path):
    assert predict(photo, "--explain").problem == (
        "--explain is for bundles that grade photos and show where the evidence lies, and this one does not: leave it"
        " out."
    )
    assert not (tmp_path / "out").exists()
