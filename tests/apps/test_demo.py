"""`tinylesions demo` goes the whole road, and not twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tinylesions.apps import demo as demo_module
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
