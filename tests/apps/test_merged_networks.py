"""`tinylesions predict` with a bundle that merges a network for each lesion of grey images."""

from __future__ import annotations

import hashlib
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

from tinylesions.datasets.lesions import OCTA_LESION_CODES, OCTA_LESIONS
from tinylesions.monai_bundles import BUNDLES, find_bundle

from .conftest import Answer, CopiedBundle
from .results import read_json

CODES = dict(zip(("IRMA", "NPA", "NV"), OCTA_LESIONS, strict=True))
HEIGHT, WIDTH = 60, 100
STAND_INS: dict[str, Any] = {
    "device": "$torch.device('cpu')",
    "precision": "float32",
    "spatial_size": [48, 80],
    "architectures": dict.fromkeys(CODES, "convolution"),
    "network_types": {
        "convolution": {
            "_target_": "torch.nn.Conv2d",
            "_mode_": "callable",
            "in_channels": 1,
            "out_channels": 1,
            "kernel_size": 3,
            "padding": 1,
        }
    },
}
"""The bundle's own inference with networks that the test can compute by itself."""


def make_network(seed: int) -> nn.Conv2d:
    torch.manual_seed(seed)
    network = nn.Conv2d(1, 1, 3, padding=1)
    nn.init.normal_(network.weight, std=3)  # else every probability is near a half
    return network


def train(models: Path, *codes: str, seed: int = 0) -> Path:
    """Write random weights for some lesions."""
    models.mkdir(exist_ok=True)
    for code in codes:
        torch.save(make_network(seed + list(CODES).index(code)).state_dict(), models / f"{code}.pt")
    return models


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> CopiedBundle:
    folder = tmp_path / "merged_networks"
    (folder / "configs").mkdir(parents=True)
    (own,) = find_bundle("octa_dr_lesion_segmentation").config_files("inference")
    config = {**read_json(Path(own)), **STAND_INS}
    (folder / "configs" / "inference.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "configs" / "metadata.json").write_text('{"version": "0.0.1"}', encoding="utf-8")
    bundle = CopiedBundle(folder.name, "Lesions of OCTA images", OCTA_LESIONS, folder)
    monkeypatch.setitem(BUNDLES, bundle.name, bundle)
    return bundle


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (2, 10):
        noise = np.random.default_rng(number).integers(0, 256, (HEIGHT // 4, WIDTH // 4), dtype=np.uint8)
        Image.fromarray(noise.repeat(4, axis=0).repeat(4, axis=1)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def run(tinylesions, bundle, images, tmp_path):
    def predict(weights: Path, *arguments: object) -> Answer:
        options = ("--bundle", bundle.name, "--out", tmp_path / "out", "--weights", weights)
        return tinylesions("predict", images, *options, *arguments)

    return predict


def read_image(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def written_lesions(folder: Path) -> set[str]:
    return {path.stem.removesuffix("_mask") for path in folder.glob("*_mask.png")}


class TestResults:
    @pytest.fixture
    def models(self, tmp_path) -> Path:
        return train(tmp_path / "trained", *CODES)

    def test_words_and_files(self, run, models, tmp_path):
        answer = run(models)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.splitlines() == [
            "2 photos: each as a whole, stretched to 80×48 px",
            *(f"[{i}/2] {n}.png: 80×48 px, as a whole" for i, n in ((1, 2), (2, 10))),
            f"2 photos predicted: see {tmp_path / 'out'}",
        ]
        maps = {f"{lesion}{kind}.png" for lesion in OCTA_LESIONS for kind in ("", "_mask")}
        for name in ("2", "10"):
            found = {path.name for path in (tmp_path / "out" / name).iterdir()}
            assert found == maps | {"overlay.jpg", "lesions.csv", "summary.json"}

    def test_tables(self, run, models, tmp_path):
        run(models)
        photos = pd.read_csv(tmp_path / "out" / "photos.csv", dtype={"photo": str}).set_index("photo")
        lesions = pd.read_csv(tmp_path / "out" / "lesions.csv", dtype={"photo": str})
        assert set(photos.index) == {"2", "10"}
        assert (photos["field_of_view_area_px"] == HEIGHT * WIDTH).all()
        assert set(lesions["lesion"]) == set(OCTA_LESIONS)
        for name, row in photos.iterrows():
            for lesion in OCTA_LESIONS:
                mask = read_image(tmp_path / "out" / str(name) / f"{lesion}_mask.png")
                own = lesions[(lesions["photo"] == name) & (lesions["lesion"] == lesion)]
                assert row[f"{lesion}_area_px"] == (mask == 255).sum() == own["area_px"].sum() > 0
                assert row[f"{lesion}_count"] == len(own)

    def test_maps_are_those_of_each_network_step_by_step(self, run, models, images, tmp_path):
        run(models)
        pixels = torch.from_numpy(read_image(images / "2.png").astype(np.float32))[None, None]
        small = functional.adaptive_avg_pool2d(pixels, (48, 80))
        small = (small - small.mean()) / small.std(correction=0)
        for seed, lesion in enumerate(OCTA_LESIONS):
            with torch.no_grad():
                probability = torch.sigmoid(make_network(seed)(small))
            expected = functional.interpolate(probability, size=(HEIGHT, WIDTH), mode="bilinear")[0, 0].numpy()
            found = read_image(tmp_path / "out" / "2" / f"{lesion}.png") / 65535
            assert found.std() > 0.05
            np.testing.assert_allclose(found, expected, atol=1e-4)
            mask = read_image(tmp_path / "out" / "2" / f"{lesion}_mask.png") == 255
            sure = np.abs(expected - 0.5) > 1e-4
            np.testing.assert_array_equal(mask[sure], expected[sure] > 0.5)

    def test_each_networks_weights_are_recorded(self, run, models, tmp_path):
        run(models)
        settings = read_json(tmp_path / "out" / "run.json")["settings"]
        hashes = {code: hashlib.sha256((models / f"{code}.pt").read_bytes()).hexdigest() for code in CODES}
        assert settings["weights_sha256"] == hashes
        assert settings["weights"] == str(models)
        assert len(set(hashes.values())) == 3


class TestSomeLesions:
    def test_one_file_by_itself(self, run, tmp_path):
        models = train(tmp_path / "trained", *CODES)
        answer = run(models / "NV.pt")
        assert (answer.code, answer.err) == (0, "")
        assert written_lesions(tmp_path / "out" / "2") == {CODES["NV"]}
        settings = read_json(tmp_path / "out" / "run.json")["settings"]
        assert list(settings["weights_sha256"]) == ["NV"]

    def test_another_checkpoint_is_looked_for_in_finished_photos_too(self, run, tmp_path):
        models = train(tmp_path / "trained", "NPA", "IRMA")
        first = run(models)
        assert "NV.pt" in first.err
        assert "2 photos predicted: see" in first.out
        assert written_lesions(tmp_path / "out" / "2") == {CODES["IRMA"], CODES["NPA"]}
        assert "0 photos predicted, 2 already done" in run(models).out

        train(models, "NV")
        third = run(models)
        assert (third.code, third.err) == (0, "")
        assert "2 photos predicted: see" in third.out
        assert written_lesions(tmp_path / "out" / "2") == set(OCTA_LESIONS)
        photos = pd.read_csv(tmp_path / "out" / "photos.csv")
        assert len(photos) == 2
        assert {f"{lesion}_count" for lesion in OCTA_LESIONS} <= set(photos)

    def test_a_checkpoint_that_was_trained_again(self, run, tmp_path):
        models = train(tmp_path / "trained", *CODES)
        run(models)
        train(models, "NPA", seed=9)
        assert "2 photos predicted: see" in run(models).out

    def test_no_checkpoint_at_all(self, run, tmp_path):
        (tmp_path / "trained").mkdir()
        problem = run(tmp_path / "trained").problem
        assert str(tmp_path / "trained") in problem
        assert all(f"{code}.pt" in problem for code in OCTA_LESION_CODES.values())
        assert not (tmp_path / "out").exists()


def test_a_folder_for_a_bundle_of_one_network(predict, photo, tmp_path):
    (tmp_path / "models").mkdir()
    problem = predict(photo, weights=tmp_path / "models").problem
    assert problem == f"there are no weights at {tmp_path / 'models'}: train first, or name the weights' file."
