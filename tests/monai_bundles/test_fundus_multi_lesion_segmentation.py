from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import ConfigParser, verify_net_in_out
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, jaccard_score
from torch import nn

from tinylesions.datasets import CLASSES, LESIONS
from tinylesions.networks import VGG16UNetPlusPlus

from .config_tester import resolve
from .configs import merge, read_json
from .pixels import TEST_PHOTOS, average_precision_bounds, pool, read_maps, read_truth
from .tester import BundleTester


class Bands(nn.Module):
    """Stands for a network: gives every fourth band of green to the same lesion, surely."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        band = (x[:, 1] * 64).long() % 4
        return 5 * nn.functional.one_hot(band + 1, 6).movedim(-1, 1).float()


class Colours(nn.Module):
    """Stands for a network whose softmax is a share of red, green and blue for the first three lesions."""

    share = 0.24

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lesions = self.share * x
        rest = (1 - lesions.sum(1, keepdim=True)) / 3
        return torch.cat([rest, lesions, rest, rest], dim=1).clamp_min(1e-9).log()


def read_pixels(data: Path, prediction: Path, lesion: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(truth, probability, inside of the field of view) of each test photo, (H, W) each."""
    photos = []
    for path in sorted((data / TEST_PHOTOS).iterdir()):
        truth, inside = read_truth(path, lesion)
        photos.append((truth, read_maps(prediction / path.stem)[LESIONS.index(lesion)], inside))
    return photos


def expected_scores(data: Path, prediction: Path) -> pd.DataFrame:
    """scikit-learn's scores of the maps that an inference wrote, each against the official masks."""
    table = pd.DataFrame(columns=LESIONS, dtype=float)
    for lesion in LESIONS:
        photos = read_pixels(data, prediction, lesion)
        found = [(truth.ravel(), scores.ravel() >= 0.5) for truth, scores, _ in photos if truth.any()]
        table.loc["average precision (exact)", lesion] = average_precision_score(*pool(photos))
        table.loc["Dice at 0.5", lesion] = np.mean([f1_score(*pair) for pair in found])
        table.loc["IoU at 0.5", lesion] = np.mean([jaccard_score(*pair) for pair in found])
    return table.assign(mean=table.mean(axis=1))


class TestFundusMultiLesionSegmentation(BundleTester):
    """The paper's network; what is special of the light one is tested in test_fundus_multi_lesion_light.py."""

    name = "fundus_multi_lesion_segmentation"
    dataset, photos = "idrid_phantoms", TEST_PHOTOS
    roads: ClassVar = BundleTester.roads | {("train", "evaluate", "evaluate_outputs"): "evaluate"}
    small: ClassVar = {"widths": [4, 4, 4, 4, 4], "device": "$torch.device('cpu')", "amp": False}
    short: ClassVar = {
        "windows_per_epoch": 64,
        "batch_size": 4,
        "num_workers": 0,
        "learning_rate": 0.02,
        "class_weights": [0.1, 1.0, 0.5, 1.0, 0.7, 0.1],
        "max_epochs": 2,
        "val_interval": 1,
    }
    killed: ClassVar = {"windows_per_epoch": 200, "max_epochs": 3}
    key_metric = "mean_average_precision"
    trained: ClassVar = BundleTester.trained | {"models/training.json"}
    scores: ClassVar = {"scores.csv", "outputs.csv"}
    reports: ClassVar = {"operating_points.csv"}
    tables: ClassVar = {"lesions.csv", "photos.csv", "run.json"}
    predicted: ClassVar = {f"{lesion}.png" for lesion in LESIONS} | {
        "label_map.png",
        "overlay.jpg",
        "lesions.csv",
        "summary.json",
    }

    def test_metadata_names_the_version_and_the_classes(self):
        """It describes the light network, for which there are weights."""
        metadata = read_json(self.config_dir / "metadata.json")
        assert metadata["version"] in metadata["changelog"]
        data = metadata["network_data_format"]
        for tensor, channels in (
            (data["inputs"]["image"], ("red", "green", "blue")),
            (data["outputs"]["pred"], LESIONS),
        ):
            assert tensor["channel_def"] == {str(index): name for index, name in enumerate(channels)}
            assert tensor["num_channels"] == len(channels)
        assert set(LESIONS) <= set(self.bundle.classes)

    def test_network_takes_and_gives_what_the_metadata_says(self, tmp_path):
        """The paper's: a softmax over all classes, of sizes that 16 divides."""
        (config,) = self.bundle.config_files("inference")
        formats = {
            part: {**tensors, key: {**tensors[key], "spatial_shape": ["16*n", "16*n"]}}
            for part, key, tensors in (
                (part, key, read_json(self.config_dir / "metadata.json")["network_data_format"][part])
                for part, key in (("inputs", "image"), ("outputs", "pred"))
            )
        }
        formats["outputs"]["pred"]["num_channels"] = len(CLASSES)
        metadata = tmp_path / "metadata.json"
        metadata.write_text(json.dumps({"network_data_format": formats}), encoding="utf-8")
        places = {"ckpt_path": (tmp_path / "model.pt").as_posix(), "widths": self.small["widths"]}
        for n in (1, 3):
            verify_net_in_out("network_def", str(metadata), config, device="cpu", n=n, **places)

    def test_training_and_inference_agree(self, idrid_phantoms, tmp_path):
        """The tensors that the network gets are equal, and so is how it is built."""
        train, inference = (
            ConfigParser(merge(self.bundle.config_files(name)).get()) for name in ("train", "inference")
        )
        train.update({**self.small, "dataset_dir": idrid_phantoms.as_posix()})
        inference.update({**self.small, "ckpt_path": (tmp_path / "model.pt").as_posix()})
        for photo in (idrid_phantoms / TEST_PHOTOS).iterdir():
            item = {"id": photo.stem, "image": str(photo), "photo": str(photo), "label": {}}
            trained = item
            for transform in train.get_parsed_content("train#deterministic_transforms"):
                trained = transform(trained)
            trained = train.get_parsed_content("train#scaling")(trained)
            validated = train.get_parsed_content("validate#preprocessing")(item)
            predicted = inference.get_parsed_content("preprocessing")(item)
            image = predicted["image"].as_tensor()
            assert torch.equal(validated["image"].as_tensor(), image)
            assert torch.equal(trained["image"].as_tensor(), image)
            assert torch.equal(validated["foreground"].as_tensor(), predicted["foreground"].as_tensor())
            assert 0.5 < image.max() <= 1
        networks = [parser.get_parsed_content("network_def") for parser in (train, inference)]
        assert str(networks[0]) == str(networks[1])
        assert type(networks[0]) is type(networks[1]) is VGG16UNetPlusPlus
        for id in ("widths", "head", "roi_size", "lesions", "background_logits"):
            assert train.get_parsed_content(id) == inference.get_parsed_content(id), id

    def test_evaluation_and_inference_stitch_alike(self):
        evaluation, inference = self.merged(("train", "evaluate")), self.merged(("inference",))
        scored, written = (
            {key: resolve(value, config) for key, value in inferer.items() if key != "progress"}
            for inferer, config in (
                (evaluation["validate"]["inferer"], evaluation),
                (inference["window_inferer"], inference),
            )
        )
        record = inference["paper"]
        # what inference.json takes from the record of the weights
        assert {key: written.pop(key) for key in ("roi_size", "flips")} == {
            "roi_size": "$@trained['roi_size']",
            "flips": "$@trained['flips']",
        }
        assert scored.pop("roi_size") == record["roi_size"]
        assert record["flips"] == [[]], "one image, as it is"
        assert scored == written

    def test_the_best_validation_is_kept(self, road):
        checkpoint = torch.load(road.models / "checkpoint.pt", weights_only=True)
        validations = pd.read_csv(road.output / "metrics.csv")[self.key_metric]
        assert checkpoint["best_model"]["best"] == pytest.approx(validations.max(), abs=1e-6)

    def test_lesions_share_the_probability(self, road):
        for path in (road.data / TEST_PHOTOS).iterdir():
            total = read_maps(road.prediction / path.stem).sum(0)
            assert 0 < total.max() <= 1 + 4 / 65535

    def test_scores_of_the_trained_network(self, road):
        scores = pd.read_csv(road.output / "scores.csv", index_col="score").loc["average precision (exact)"]
        for lesion in LESIONS:
            least, most = average_precision_bounds(*pool(read_pixels(road.data, road.prediction, lesion)))
            assert least <= scores[lesion] <= most, lesion
        assert scores["mean"] == pytest.approx(scores[list(LESIONS)].mean())

    @pytest.mark.parametrize(("network", "finds"), [(Colours(), 1), (Bands(), 3)])
    def test_scores_against_scikit_learn(self, idrid_phantoms, tmp_path, network, finds):
        self.infer(idrid_phantoms / TEST_PHOTOS, tmp_path, network)
        overrides = self.data_overrides(idrid_phantoms, tmp_path) | {"ckpt_path": str(tmp_path / "no_weights.pt")}
        self.run(("train", "evaluate"), {**overrides, "network_def": network})
        table = pd.read_csv(tmp_path / "output" / "scores.csv", index_col="score")
        expected = expected_scores(idrid_phantoms, tmp_path)
        assert (expected[:finds] > 0).to_numpy().all()
        table = table.loc[expected.index, expected.columns]
        pd.testing.assert_frame_equal(table, expected, check_names=False, rtol=1e-6)

    def test_outputs_are_scored_like_the_network(self, road):
        outputs = pd.read_csv(road.output / "outputs.csv", index_col="score")
        network = pd.read_csv(road.output / "scores.csv", index_col="score").loc["average precision (exact)"]
        pd.testing.assert_series_equal(outputs.loc["output 4"], network[outputs.columns], check_names=False, rtol=1e-5)
        for lesion in LESIONS:
            assert outputs.loc["output integration", lesion] in outputs.loc["output 1":"output 4", lesion].to_numpy()

    @pytest.mark.parametrize(("size", "centre", "radius"), [((150, 220), (60, 150), 55), ((90, 200), (45, 40), 39)])
    def test_prediction_lies_where_the_photo_is(self, tmp_path, size, centre, radius):
        rows, columns = np.ogrid[: size[0], : size[1]]
        lit = np.hypot(rows - centre[0], columns - centre[1]) <= radius
        photo = np.random.default_rng(0).integers(90, 256, (*size, 3), dtype=np.uint8) * lit[..., None]
        (tmp_path / "photos").mkdir()
        Image.fromarray(photo.astype(np.uint8)).save(tmp_path / "photos" / "eye.png")
        self.infer(tmp_path / "photos", tmp_path, Colours())
        maps = read_maps(tmp_path / "eye")[:3].transpose(1, 2, 0)
        np.testing.assert_allclose(maps, Colours.share * photo / 255, rtol=0, atol=1 / 65535)
