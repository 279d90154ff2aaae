"""`tinylesions demo` goes the whole road, and not twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tinylesions.apps import demo as demo_module
from tinylesions.datasets import read_layout
from tinylesions.monai_bundles import BUNDLES, find_bundle

from .conftest import CopiedBundle


@pytest.mark.slow
def test_demo(tinylesions, tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(BUNDLES, tiny_bundle.name, tiny_bundle)
    monkeypatch.setattr(demo_module, "PHOTOS", (2, 1, 1))
    monkeypatch.setattr(demo_module, "SIZE", (192, 256))
    out = tmp_path / "[red]demo"
    answer = tinylesions("demo", "--out", out)
    assert answer.code == 0, answer
    for step in ("1. 4 phantoms of 256×192 px", "2. Training", "3. Evaluation", "4. Prediction"):
        assert step in answer.out
    assert f"Look at {out / 'results'}: <photo>/overlay.jpg" in answer.out
    scores = pd.read_csv(out / "run" / "scores.csv", index_col="score")
    mean = scores["mean"]["average precision (exact)"]
    assert f"held-out phantoms: {mean:.3f}" in answer.out
    (overlay,) = out.glob("results/*/overlay.jpg")
    with Image.open(overlay) as image:
        assert image.size == (256, 192)

    def no_training(*_, **__):
        raise AssertionError("the phantoms and the training are there")

    monkeypatch.setattr(demo_module, "write_phantoms", no_training)
    before = (out / "run" / "model.pt").stat().st_mtime_ns
    answer = tinylesions("demo", "--out", out)
    assert answer.code == 0, answer
    assert "0 photos (1 already done)" in answer.out
    assert (out / "run" / "model.pt").stat().st_mtime_ns == before


@pytest.mark.slow
def test_demo_of_a_bundle_that_grades(tinylesions, tmp_path, monkeypatch):
    """Two data sets, pseudo-labels, one training, and both kinds of scores."""
    bundle = find_bundle("fundus_dr_grading_segmentation")
    folder = Path(shutil.copytree(bundle.root, tmp_path / "bundles" / bundle.name))
    schedule = {"max_epochs": 1, "batch_size": 2, "learning_rate": 0.003}
    preset = {
        "widths": [4, 4, 4, 4, 4],
        "spatial_size": [64, 64],
        "num_workers": 0,
        "schedules": dict.fromkeys(("joint", "grading", "segmentation"), schedule),
    }
    (folder / "configs" / "cpu.json").write_text(json.dumps(preset), encoding="utf-8")
    copied = CopiedBundle(bundle.name, bundle.title, bundle.classes, folder, graded=True)
    monkeypatch.setitem(BUNDLES, bundle.name, copied)
    monkeypatch.setattr(demo_module, "PHOTOS", (2, 1, 1))
    monkeypatch.setattr(demo_module, "GRADED_PHOTOS", (8, 2, 3))
    monkeypatch.setattr(demo_module, "SIZE", (192, 256))
    out = tmp_path / "demo"
    for _ in range(2):
        answer = tinylesions("demo", "--bundle", bundle.name, "--out", out)
        assert answer.code == 0, answer
        scores = pd.read_csv(out / "run" / "scores.csv", index_col="score")
        assert f"grade on held-out phantoms: {scores['grade']['accuracy']:.3f}" in answer.out
        assert f"(exact) on held-out phantoms: {scores['mean']['average precision (exact)']:.3f}" in answer.out
    assert "1. 17 phantoms of 256×192 px" in answer.out
    assert "Pseudo-labels" not in answer.out, "they are there"
    (photo,) = pd.read_csv(out / "results" / "photos.csv").to_dict("records")
    assert photo["grade"] in range(5)


@pytest.mark.slow
def test_demo_of_a_bundle_for_oct_angiography(tinylesions, tmp_path, monkeypatch):
    """A network for each lesion; what is scored is the validation split, as the test images' truth is hidden."""
    bundle = find_bundle("octa_dr_lesion_segmentation")
    folder = Path(shutil.copytree(bundle.root, tmp_path / "bundles" / bundle.name))
    path = folder / "configs" / "cpu.json"
    preset = json.loads(path.read_text(encoding="utf-8"))
    preset |= {"spatial_size": [64, 64], "widths": [2, 2, 2, 2, 2], "max_epochs": 1, "val_interval": 1}
    path.write_text(json.dumps(preset), encoding="utf-8")
    copied = CopiedBundle(bundle.name, bundle.title, bundle.classes, folder, weights_file=bundle.weights_file)
    monkeypatch.setitem(BUNDLES, bundle.name, copied)
    monkeypatch.setattr(demo_module, "OCTA_PHOTOS", (6, 2, 2))
    monkeypatch.setattr(demo_module, "OCTA_SIZE", (128, 160))
    out = tmp_path / "demo"
    answer = tinylesions("demo", "--bundle", bundle.name, "--out", out)
    assert answer.code == 0, answer
    assert "warning" not in answer.err
    for sentence in (
        "1. 10 phantoms of 160×128 px",
        "3. Evaluation on the held-out phantoms, which also chose the best epoch",
        "4. Prediction of test phantoms, which have no masks, as the challenge's, at full size",
        "nothing about eyes",
    ):
        assert sentence in answer.out
    scores = pd.read_csv(out / "run" / "scores.csv", index_col="score")
    assert f"Mean Dice (DRAC2022) on held-out phantoms: {scores['mean']['Dice (DRAC2022)']:.3f}" in answer.out
    items = read_layout("drac", out / "data")
    scored = pd.read_csv(out / "run" / "image_scores.csv", dtype={"id": str})
    assert set(scored["id"]) == {item["id"] for item in items if item["split"] == "validation"}
    predicted = pd.read_csv(out / "results" / "photos.csv", dtype={"photo": str})
    assert set(predicted["photo"]) == {item["id"] for item in items if item["split"] == "test"}
    with Image.open(next(out.glob("results/*/overlay.jpg"))) as image:
        assert image.size == (160, 128)

    before = {path: path.stat().st_mtime_ns for path in (out / "run").glob("*.pt")}
    assert {path.stem.removesuffix("_checkpoint") for path in before} == {"IRMA", "NPA", "NV"}
    answer = tinylesions("demo", "--bundle", bundle.name, "--out", out)
    assert answer.code == 0, answer
    assert "0 photos (2 already done)" in answer.out
    assert {path: path.stat().st_mtime_ns for path in (out / "run").glob("*.pt")} == before
    assert f"holds the demonstration of {bundle.name}" in tinylesions("demo", "--out", out).problem


@pytest.mark.slow
def test_demo_of_a_bundle_for_nuclei(tinylesions, tmp_path, monkeypatch):
    """Two networks, three results; the tiles of MoNuSAC's layout are files, which can be predicted."""
    bundle = find_bundle("pathology_nuclei_imbalance_segmentation")
    folder = Path(shutil.copytree(bundle.root, tmp_path / "bundles" / bundle.name))
    path = folder / "configs" / "cpu.json"
    preset = json.loads(path.read_text(encoding="utf-8"))
    preset |= {"roi_size": [64, 64], "widths": [2, 2, 2, 2, 2], "max_epochs": 1, "val_interval": 1}
    path.write_text(json.dumps(preset), encoding="utf-8")
    settings = {name: getattr(bundle, name) for name in ("weights_file", "item", "table")}
    monkeypatch.setitem(
        BUNDLES, bundle.name, CopiedBundle(bundle.name, bundle.title, bundle.classes, folder, **settings)
    )
    monkeypatch.setattr(demo_module, "TILES", (6, 1, 2))
    monkeypatch.setattr(demo_module, "TILE_SIZE", (80, 96))
    out = tmp_path / "demo"
    for _ in range(2):
        answer = tinylesions("demo", "--bundle", bundle.name, "--out", out)
        assert answer.code == 0, answer
        scores = pd.read_csv(out / "run" / "scores.csv", index_col="score")
        assert f"Mean IoU, combined on held-out phantoms: {scores['mean']['IoU, combined']:.3f}" in answer.out
        for sentence in (
            "1. 9 phantoms of 96×80 px",
            "nothing about tissue",
            "<tile>/overlay.jpg, nuclei.csv, tiles.csv",
        ):
            assert sentence in answer.out
    assert "0 tiles (2 already done)" in answer.out
    predicted = pd.read_csv(out / "results" / "tiles.csv", dtype={"tile": str})
    items = read_layout("monusac", out / "data")
    assert set(predicted["tile"]) == {item["id"] for item in items if item["split"] == "test"}
    counted = {name.removesuffix("_count") for name in predicted if name.endswith("_count")}
    assert counted == {"epithelial", "lymphocyte", "macrophage", "neutrophil"}
