"""`tinylesions predict` with a bundle that runs each photo whole, in one pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer
from PIL import Image
from torch.nn import functional

from tinylesions.apps import demo as demo_module
from tinylesions.apps.photo_inferers import WholePhoto, photo_inferer
from tinylesions.inferers import ForegroundSlidingWindowInferer, WholeImageInferer
from tinylesions.monai_bundles import BUNDLES
from tinylesions.networks.red_seg import RedSeg

from .conftest import Answer, CopiedBundle

LESIONS = ("microaneurysm", "haemorrhage")
NETWORK: dict[str, Any] = {"branches": [[1, 2], [2, 3]], "widths": [4, 4, 4]}
CONFIG: dict[str, Any] = {
    "imports": ["$import tinylesions.networks as networks"],
    "bundle_root": ".",
    "ckpt_path": "$@bundle_root + '/models/model.pt'",
    "output_dir": "$@bundle_root + '/output'",
    "device": "$torch.device('cpu')",
    "longest_side": 96,
    "precision": "auto",
    "network_def": {"_target_": "tinylesions.networks.red_seg.RedSeg", **NETWORK},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "tinylesions.transforms.LoadPhotod", "keys": "image"},
            {"_target_": "tinylesions.transforms.FieldOfViewMaskd", "keys": "image"},
            {"_target_": "tinylesions.transforms.ResizeLongestSided", "keys": "image", "longest_side": "@longest_side"},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0, "b_max": 1},
        ],
    },
    "inferer": {"_target_": "tinylesions.inferers.WholeImageInferer", "precision": "@precision"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": False,
            },
            {
                "_target_": "tinylesions.transforms.SaveLesionsd",
                "keys": "pred",
                "output_dir": "@output_dir",
                "lesions": list(LESIONS),
            },
        ],
    },
    "initialize": ["$networks.load_checkpoint(@network_def, @ckpt_path)"],
    "run": ["$None"],
}


def write_bundle(folder: Path, config: dict[str, Any]) -> CopiedBundle:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "configs" / "metadata.json").write_text('{"version": "0.0.1"}', encoding="utf-8")
    return CopiedBundle(folder.name, "Red lesions in one pass", LESIONS, folder)


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> CopiedBundle:
    """A bundle without windows, with random weights of its own."""
    bundle = write_bundle(tmp_path / "whole_photos", CONFIG)
    monkeypatch.setitem(BUNDLES, bundle.name, bundle)
    torch.manual_seed(0)
    network = RedSeg(**NETWORK)
    for branch in network.branches:
        torch.nn.init.normal_(branch.fusion.weight, std=400)  # else every probability is near a half
    bundle.weights.parent.mkdir()
    torch.save(network.state_dict(), bundle.weights)
    return bundle


@pytest.fixture
def run(tinylesions, bundle, tmp_path):
    def predict(*arguments: object) -> Answer:
        return tinylesions("predict", *arguments, "--bundle", bundle.name, "--out", tmp_path / "out")

    return predict


def settings(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text(encoding="utf-8"))["settings"]


class TestResults:
    def test_words_and_files(self, run, dataset, tmp_path):
        answer = run(dataset / "A. Segmentation" / "1. Original Images")
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.splitlines() == [
            "3 photos: each as a whole, the longer side 96 px",
            *(f"[{i}/3] IDRiD_{n}.jpg: 96×72 px, as a whole" for i, n in ((1, "01"), (2, "02"), (3, "55"))),
            f"3 photos predicted: see {tmp_path / 'out'}",
        ]
        summary = json.loads((tmp_path / "out" / "IDRiD_01" / "summary.json").read_text(encoding="utf-8"))
        assert not [key for key in summary if "windows" in key]
        assert summary["seconds"] > 0
        photos = pd.read_csv(tmp_path / "out" / "photos.csv")
        assert list(photos["photo"]) == ["IDRiD_01", "IDRiD_02", "IDRiD_55"]
        assert not [column for column in photos if "windows" in column]

    def test_maps_are_those_of_the_network_step_by_step(self, run, bundle, photo, image, tmp_path):
        assert run(photo, "--precision", "float32").code == 0
        network = RedSeg(**NETWORK).eval()
        network.load_state_dict(torch.load(bundle.weights))
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            small = torch.sigmoid(network(functional.interpolate(pixels, size=(72, 96), mode="area")))
        expected = functional.interpolate(small, size=(192, 256), mode="bilinear", align_corners=False)[0]
        for lesion, probability in zip(LESIONS, expected.numpy(), strict=True):
            with Image.open(tmp_path / "out" / "IDRiD_01" / f"{lesion}.png") as file:
                found = np.asarray(file) / 65535
            assert found.std() > 0.05
            np.testing.assert_allclose(found, probability, atol=1e-4)

    def test_settings(self, run, photo, tmp_path):
        run(photo, "--precision", "bf16")
        found = settings(tmp_path / "out")
        assert (found["bundle"], found["longest_side"], found["precision"]) == ("whole_photos", 96, "bfloat16")
        assert not {"roi_size", "overlap", "fast"} & found.keys()

    def test_goes_on(self, run, photo):
        run(photo, "--precision", "bf16")
        again = run(photo, "--precision", "bf16")
        assert again.out.splitlines()[0] == "0 photos (1 already done): each as a whole, the longer side 96 px"
        assert "1 photo predicted: see" in run(photo, "--precision", "float32").out  # other settings

    def test_a_bad_photo_does_not_stop_the_others(self, run, photo, tmp_path):
        (tmp_path / "text.jpg").write_text("no photo")
        answer = run(tmp_path / "text.jpg", photo)
        assert answer.code == 2
        assert "1 photo predicted: see" in answer.out
        assert str(tmp_path / "text.jpg") in answer.err


class TestRefused:
    @pytest.mark.parametrize("arguments", [("--overlap", "0.25"), ("--fast",)], ids=["overlap", "fast"])
    def test_options_of_windows(self, run, photo, tmp_path, arguments):
        assert run(photo, *arguments).problem == (
            f"{arguments[0]} is for bundles that cut photos into windows, and this one takes each photo whole: leave it"
            " out."
        )
        assert not (tmp_path / "out").exists()

    def test_weights_of_the_other_bundle(self, run, photo, weights, tmp_path):
        problem = run(photo, "--weights", weights).problem
        assert problem.startswith(f"{weights} does not fit RedSeg: ")
        assert "name weights of this network" in problem
        assert not (tmp_path / "out").exists()

    def test_its_weights_in_the_other_bundle(self, predict, bundle, photo, tmp_path):
        assert f"{bundle.weights} does not fit VGG16UNetPlusPlus" in predict(photo, weights=bundle.weights).problem
        assert not (tmp_path / "out").exists()

    def test_a_demonstration_in_another_bundles_folder(self, tinylesions, bundle, tmp_path, monkeypatch):
        monkeypatch.setattr(demo_module, "write_phantoms", lambda *_, **__: pytest.fail("nothing may be drawn"))
        (tmp_path / "demo" / "run").mkdir(parents=True)
        config = {"bundle_root": "/somewhere/fundus_multi_lesion_segmentation"}
        (tmp_path / "demo" / "run" / "train_config.json").write_text(json.dumps(config), encoding="utf-8")
        problem = tinylesions("demo", "--bundle", bundle.name, "--out", tmp_path / "demo").problem
        assert problem == (
            f"{tmp_path / 'demo'} holds the demonstration of fundus_multi_lesion_segmentation: name another folder"
            " with --out."
        )


class TestPlainInferer:
    """MONAI's own inferer, in a config that does not tell the photo's size."""

    @pytest.fixture
    def inferer(self) -> WholePhoto:
        return photo_inferer(ConfigParser({"inferer": SimpleInferer()}), {}, show_progress=True)

    def test_settings_and_words(self, inferer):
        assert inferer.settings(torch.device("cpu")) == {"precision": "float32"}
        assert inferer.announce([Path("eye.jpg")]) == "each as a whole"
        assert inferer.plan({}) == {}
        assert inferer.describe({"image": torch.zeros(3, 712, 1072)}) == "1072×712 px, as a whole"

    def test_runs_without_gradients(self, inferer):
        network = torch.nn.Conv2d(3, 2, 1)
        image = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
        found = inferer.infer({"image": image}, network, torch.device("cpu"), pytest.fail)
        assert not found.requires_grad
        torch.testing.assert_close(found, network(image[None])[0].detach())


class TestMirrorImages:
    """What is told of an inferer that averages over mirror images."""

    FLIPS = ((), (1,))

    def test_one_pass(self):
        whole = WholeImageInferer("float32", flips=self.FLIPS)
        inferer = photo_inferer(ConfigParser({"inferer": whole, "longest_side": 900}), {}, show_progress=False)
        assert inferer.settings(torch.device("cpu")) == {
            "longest_side": 900,
            "precision": "float32",
            "flips": [[], [1]],
        }
        words = "each as a whole, the longer side 900 px, the mean of 2 mirror images"
        assert inferer.announce([Path("eye.jpg")]) == words

    def test_windows(self, photo):
        windows = ForegroundSlidingWindowInferer(64, precision="float32", flips=self.FLIPS)
        inferer = photo_inferer(ConfigParser({"inferer": windows}), {}, show_progress=False)
        assert inferer.settings(torch.device("cpu"))["flips"] == [[], [1]]
        assert inferer.announce([photo]).endswith("overlap 0.25, the mean of 2 mirror images")
