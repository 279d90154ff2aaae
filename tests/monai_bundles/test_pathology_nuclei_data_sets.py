"""Data sets of other classes, and tiles of other sizes than the networks', in the nuclei bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.special import expit
from skimage.transform import resize
from sklearn.metrics import jaccard_score

from tinylesions.apps.input_errors import find_input_error
from tinylesions.apps.workflows import run_workflow

from .configs import read_json
from .nuclei import (
    FOUR_CLASSES,
    MODELS,
    MONUSAC_CLASSES,
    RESULTS,
    SPLITS,
    STAND_INS,
    TILES,
    class_maps,
    conic_arrays,
    evaluate,
    infer,
    outlined,
    read_map,
    save_weights,
    training,
)

pytestmark = pytest.mark.filterwarnings("ignore:no training pixel is of")

MONUSAC: dict[str, Any] = {**STAND_INS, "spatial_size": [64, 64]}


@pytest.fixture(scope="module")
def four_classes(conic_phantoms, tmp_path_factory) -> Path:
    """The phantoms as a data set of other classes in CoNIC's layout."""
    root = shutil.copytree(conic_phantoms, tmp_path_factory.mktemp("four") / "data")
    labels = np.load(root / "labels.npy")
    labels[..., 1] = np.array([0, 1, 2, 3, 3, 1, 1])[labels[..., 1]]
    np.save(root / "labels.npy", labels)
    (root / "counts.csv").unlink()
    return root


class TestOtherClasses:
    def test_they_are_kept_beside_the_weights(self, four_classes, tmp_path):
        run_workflow(training(four_classes, tmp_path, {**STAND_INS, "class_names": list(FOUR_CLASSES)}))
        models = tmp_path / "models"
        assert read_json(models / "training.json")["class_names"] == list(FOUR_CLASSES)
        weights = {model: torch.load(models / f"{model}.pt", weights_only=True)["weight"] for model in MODELS}
        assert {model: len(weight) for model, weight in weights.items()} == {"multi_class": 4, "binary": 1}

        evaluate(four_classes, tmp_path / "scores", models)
        table = pd.read_csv(tmp_path / "scores" / "scores.csv", index_col="score")
        assert [column for column in table if "_low" not in column and "_high" not in column] == [
            *FOUR_CLASSES,
            "mean",
            "foreground",
        ]
        infer(four_classes / TILES, tmp_path / "out", models)
        for path in (four_classes / TILES).iterdir():
            assert read_map(tmp_path / "out" / path.stem / "multi_class.png").max() < 4
        tiles = pd.read_csv(tmp_path / "out" / "tiles.csv")
        assert {f"{name}_count" for name in FOUR_CLASSES[1:]} == {name for name in tiles if name.endswith("_count")}

    def test_scores(self, four_classes, tmp_path):
        evaluate(four_classes, tmp_path, save_weights(tmp_path / "models", classes=FOUR_CLASSES))
        table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
        images, truth = (array[SPLITS["test"]] for array in conic_arrays(four_classes))
        found = [class_maps(image, 4) for image in images]
        for result in ("multi_class", "combined"):
            predicted = np.stack([maps[result] for maps in found])
            values = jaccard_score(truth.ravel(), predicted.ravel(), labels=range(4), average=None, zero_division=0)
            assert table.loc[f"IoU, {result}", list(FOUR_CLASSES)].tolist() == pytest.approx(values.tolist(), abs=1e-9)
            assert (values > 0).sum() > 1

    def test_labels_of_more_classes_than_named(self, conic_phantoms, tmp_path):
        overrides = {**STAND_INS, "class_names": list(FOUR_CLASSES)}
        with pytest.raises(RuntimeError) as raised:
            run_workflow(training(conic_phantoms, tmp_path, overrides, "run"))
        assert str(find_input_error(raised.value)).startswith(str(conic_phantoms / "labels.npy"))
        assert not list(tmp_path.rglob("*.pt"))

    def test_weights_without_their_classes_are_taken_for_conic_s(self, conic_phantoms, tmp_path):
        models = save_weights(tmp_path / "models")
        (models / "training.json").unlink()
        with pytest.warns(UserWarning, match="models has no training.json: class_names.* to be the usual ones"):
            infer(conic_phantoms / TILES, tmp_path / "out", models)
        path = next((conic_phantoms / TILES).iterdir())
        expected = class_maps(np.asarray(Image.open(path)))["multi_class"]
        np.testing.assert_array_equal(read_map(tmp_path / "out" / path.stem / "multi_class.png"), expected)


class TestTilesOfOtherSizes:
    def test_monusac_is_scored_at_the_tiles_own_size(self, monusac_phantoms, tmp_path):
        models = save_weights(tmp_path / "models", classes=MONUSAC_CLASSES, layout="monusac", spatial_size=[64, 64])
        evaluate(monusac_phantoms, tmp_path, models, {**STAND_INS, "save_predictions": True})
        table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
        paths = sorted((monusac_phantoms / "MoNuSAC Testing Data and Annotations").glob("*/*.tif"))
        assert len(paths) == 2
        truth = np.stack([outlined(path, (80, 112)) for path in paths])
        assert len(np.unique(truth)) > 2
        for result in RESULTS:
            found = [read_map(tmp_path / "predictions" / path.stem / f"{result}.png") for path in paths]
            for path, classes in zip(paths, found, strict=True):
                small = resize(np.asarray(Image.open(path)), (64, 64), order=1, anti_aliasing=True) * 255
                coarse = class_maps(small, len(MONUSAC_CLASSES))[result]
                expected = resize(coarse, (80, 112), order=0, preserve_range=True, anti_aliasing=False)
                assert (classes == expected).mean() > 0.9
            predicted, true = np.stack(found), truth if result != "binary" else truth > 0
            score = jaccard_score(true.ravel(), predicted.ravel(), labels=np.unique(true), average="macro")
            assert table.loc[f"IoU, {result}", "mean"] == pytest.approx(score, abs=1e-9)

    def test_monusac_trains_at_one_size(self, monusac_phantoms, tmp_path):
        run_workflow(training(monusac_phantoms, tmp_path, MONUSAC, presets=["monusac"]))
        record = read_json(tmp_path / "models" / "training.json")
        assert record["class_names"] == list(MONUSAC_CLASSES)
        assert (record["layout"], record["spatial_size"]) == ("monusac", [64, 64])
        for model in MODELS:
            values = pd.read_csv(tmp_path / "output" / model / "metrics.csv")["mean_iou"]
            assert len(values) == 2
            assert values.between(0, 1).all()

    def test_an_inference_takes_any(self, conic_phantoms, tmp_path):
        """Smaller than a window, larger, and in colours with a fourth channel."""
        (tmp_path / "tiles").mkdir()
        images = np.load(conic_phantoms / "images.npy")
        large = np.concatenate([np.concatenate(images[:2], axis=1), np.concatenate(images[8:10], axis=1)])
        tiles = {"small": images[8][:30, :47], "large": large[:101, :], "square": images[10]}
        for name, tile in tiles.items():
            Image.fromarray(np.ascontiguousarray(tile)).save(tmp_path / "tiles" / f"{name}.png")
        infer(tmp_path / "tiles", tmp_path / "out", save_weights(tmp_path / "models"))
        for name, tile in tiles.items():
            for result, expected in class_maps(tile).items():
                np.testing.assert_array_equal(read_map(tmp_path / "out" / name / f"{result}.png"), expected)

    def test_a_tile_smaller_than_a_window_lies_on_white(self, conic_phantoms, tmp_path):
        """A network that sees the brightness of 9x9 pixels looks beyond the edges."""
        tile = np.load(conic_phantoms / "images.npy")[8][:31, :47]
        (tmp_path / "tiles").mkdir()
        Image.fromarray(np.ascontiguousarray(tile)).save(tmp_path / "tiles" / "small.png")
        state = {"weight": torch.full((1, 3, 9, 9), -255 / 100 / 81), "bias": torch.tensor([5.0])}
        torch.save(state, tmp_path / "binary.pt")
        overrides = {"network_types#pixels#kernel_size": 9, "network_types#pixels#padding": 4}
        save_weights(tmp_path / "models", [])
        shutil.move(tmp_path / "binary.pt", tmp_path / "models")
        with pytest.warns(UserWarning, match="models has no multi_class.pt: "):
            infer(tmp_path / "tiles", tmp_path / "out", tmp_path / "models", {**STAND_INS, **overrides})
        found = np.asarray(Image.open(tmp_path / "out" / "small" / "foreground.png")) / 65535
        window = np.full((48, 48), 3 * 255.0)
        window[8:39, :47] = tile.sum(2)
        seen = uniform_filter(window, 9, mode="constant")
        np.testing.assert_allclose(found, expit(5 - seen / 100)[8:39, :47], rtol=0, atol=1e-4)
        assert found.std() > 0.05
