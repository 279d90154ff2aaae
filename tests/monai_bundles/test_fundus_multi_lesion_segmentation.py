from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, jaccard_score
from torch import nn

from tinylesions.datasets import LESIONS

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
    scores: ClassVar = {"scores.csv", "outputs.csv"}
    tables: ClassVar = {"lesions.csv", "photos.csv", "run.json"}
    predicted: ClassVar = {f"{lesion}.png" for lesion in LESIONS} | {
        "label_map.png",
        "overlay.jpg",
        "lesions.csv",
        "summary.json",
    }

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
