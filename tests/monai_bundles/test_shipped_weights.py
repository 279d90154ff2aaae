"""The weights that ship with the package."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score

from benchmarks.top_hat_baseline import top_hat_score
from tinylesions.datasets import LESIONS
from tinylesions.datasets.phantoms import draw_fundus

from .configs import read_json
from .light import BUNDLE, infer
from .pixels import read_maps

SIZE = (964, 1450)
RECORD = BUNDLE.weights.with_name("training.json")


def test_file():
    assert BUNDLE.weights.stat().st_size <= 20 * 2**20
    record = read_json(RECORD)
    assert record["sha256"] == {"model.pt": hashlib.sha256(BUNDLE.weights.read_bytes()).hexdigest()}
    weights = torch.load(BUNDLE.weights, weights_only=True)
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}
    assert record["lesions"] == list(LESIONS)
    assert sorted(record["thresholds"]) == sorted(LESIONS)


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> dict[str, dict[str, float]]:
    """Average precision of each lesion over the pixels of a phantom with all of them."""
    folder = tmp_path_factory.mktemp("shipped")
    phantom = draw_fundus(2, SIZE, grade=4)
    (folder / "photos").mkdir()
    Image.fromarray(phantom.photo).save(folder / "photos" / "phantom.png")
    infer(folder / "photos", folder / "prediction", BUNDLE.weights)
    maps = dict(zip(LESIONS, read_maps(folder / "prediction" / "phantom"), strict=True))
    found = {"shipped": maps, "top-hat": {lesion: top_hat_score(phantom.photo, lesion) for lesion in LESIONS}}
    return {
        name: {
            lesion: average_precision_score(phantom.masks[lesion].ravel(), scores[lesion].ravel()) for lesion in LESIONS
        }
        for name, scores in found.items()
    }


def test_phantoms_lesions_are_found(scores):
    shipped, baseline = scores["shipped"], scores["top-hat"]
    assert np.mean(list(shipped.values())) > np.mean(list(baseline.values())), scores
