"""`tinylesions demo` goes the whole road, and not twice."""

from __future__ import annotations

import pandas as pd
import pytest
from PIL import Image

from tinylesions.apps import demo as demo_module
from tinylesions.monai_bundles import BUNDLES


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
