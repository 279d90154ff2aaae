"""Evaluation and inference of the nuclei bundle, with stand-ins whose weights are the classes' colours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skimage.measure import label
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from .nuclei import (
    CLASSES,
    MODELS,
    RESULTS,
    SPLITS,
    STAND_INS,
    TILES,
    class_maps,
    evaluate,
    infer,
    probabilities,
    read_map,
    save_weights,
    split_pixels,
)
from .octa import sentence

SCORES = {"Dice": f1_score, "IoU": jaccard_score, "precision": precision_score, "recall": recall_score}


def read_scores(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / "scores.csv", index_col="score")


def expected_scores(truth: np.ndarray, found: dict[str, np.ndarray], score: str, result: str) -> dict[str, float]:
    """Column → value of a row, by scikit-learn over all pixels.

    A class that is nowhere has none, and the mean is over those that the truth holds.
    """
    predicted = found[result]
    names = dict(enumerate(CLASSES))
    if result == "binary":
        names, truth = {0: "background", 1: "foreground"}, truth > 0
    present = np.union1d(truth, predicted)
    values = SCORES[score](truth, predicted, labels=present, average=None, zero_division=0)
    columns = {names[number]: value for number, value in zip(present.astype(int).tolist(), values, strict=True)}
    foreground = SCORES[score](truth > 0, predicted > 0, zero_division=0)
    mean = np.mean(values[np.isin(present, truth)])
    return {**columns, "mean": mean, "foreground": foreground}


@pytest.mark.parametrize("split", ["test", "training"])
def test_scores_against_scikit_learn(conic_phantoms, tmp_path, split):
    overrides = STAND_INS if split == "test" else {**STAND_INS, "split": split}
    evaluate(conic_phantoms, tmp_path / "output", save_weights(tmp_path / "models"), overrides)
    assert {path.name for path in (tmp_path / "output").iterdir()} == {"scores.csv", "differences.csv"}
    table = read_scores(tmp_path / "output")
    assert set(table.index) == {f"{score}, {result}" for score in (*SCORES, "PQ") for result in RESULTS}
    truth, found = split_pixels(conic_phantoms, split)
    assert len(truth) == len(SPLITS[split]) * 64 * 64
    assert len({found[result].tobytes() for result in RESULTS}) == 3
    for result in RESULTS:
        for score in SCORES:
            expected = expected_scores(truth, found, score, result)
            row = table.loc[f"{score}, {result}", [*CLASSES, "mean", "foreground"]].dropna()
            assert row.to_dict() == pytest.approx(expected, abs=1e-9), (score, result)
    multi_class = table.loc["IoU, multi_class", list(CLASSES)]
    assert multi_class.isna().any(), "a class that is nowhere"
    assert multi_class.between(0.01, 0.99).sum() > 2
    means = [table.loc[f"IoU, {result}", "mean"] for result in RESULTS]
    assert len(set(means)) == 3
    differences = pd.read_csv(tmp_path / "output" / "differences.csv", index_col="score")
    for score in SCORES:
        combined, multi_class, difference = (
            frame.loc[f"{score}, {row}", [*CLASSES, "mean", "foreground"]]
            for frame, row in ((table, "combined"), (table, "multi_class"), (differences, "combined - multi_class"))
        )
        assert difference.to_dict() == pytest.approx((combined - multi_class).to_dict(), abs=1e-9, nan_ok=True)


def pieces(class_map: np.ndarray, minimum_area: int = 10) -> list[tuple[int, np.ndarray]]:
    """(class, mask) of each connected piece of each class."""
    found = []
    for number in range(1, class_map.max() + 1):
        numbers = label(class_map == number, connectivity=1)
        masks = [numbers == piece for piece in range(1, numbers.max() + 1)]
        found += [(number, mask) for mask in masks if mask.sum() >= minimum_area]
    return found


def panoptic_quality(images: list[tuple[list[np.ndarray], list[np.ndarray]]]) -> float:
    """Of (true masks, found masks) of each image: the sum of the IoUs above 0.5 by the mean of the two numbers."""
    total, count = 0.0, 0
    for true, found in images:
        overlaps = [(one & other).sum() / (one | other).sum() for one in true for other in found]
        total += sum(overlap for overlap in overlaps if overlap > 0.5)
        count += len(true) + len(found)
    return total / (count / 2) if count else np.nan


def test_panoptic_quality_of_nuclei_one_by_one(conic_phantoms, tmp_path):
    evaluate(conic_phantoms, tmp_path / "output", save_weights(tmp_path / "models"), {**STAND_INS, "split": "training"})
    table = read_scores(tmp_path / "output")
    images, labels = (np.load(conic_phantoms / f"{name}.npy")[SPLITS["training"]] for name in ("images", "labels"))
    for result in ("multi_class", "combined", "binary"):
        pairs = []
        for image, (numbers, classes) in zip(images, labels.transpose(0, 3, 1, 2), strict=True):
            true = [(classes[numbers == number][0], numbers == number) for number in np.unique(numbers)[1:]]
            pairs.append((true, pieces(class_maps(image)[result])))
        row = table.loc[f"PQ, {result}"]
        whole = [panoptic_quality([([mask for _, mask in part] for part in pair)]) for pair in pairs]
        assert row["foreground"] == pytest.approx(np.mean(whole), abs=1e-6)
        if result == "binary":
            assert row[[*CLASSES, "mean"]].isna().all()
            continue
        expected = {
            name: panoptic_quality(
                [tuple([mask for n, mask in part if n == number] for part in pair) for pair in pairs]
            )
            for number, name in enumerate(CLASSES)
            if number
        }
        assert row[list(CLASSES[1:])].to_dict() == pytest.approx(expected, abs=1e-6, nan_ok=True)
        held = [expected[CLASSES[number]] for number in np.unique(labels[..., 1])[1:]]
        assert row["mean"] == pytest.approx(np.mean(held), abs=1e-6)
        assert sum(value > 0 for value in expected.values()) > 1
    assert 0 < table.loc["PQ, binary", "foreground"] < 1


def test_maps_nuclei_and_counts_of_a_prediction(conic_phantoms, tmp_path):
    infer(conic_phantoms / TILES, tmp_path / "out", save_weights(tmp_path / "models"))
    nuclei = pd.read_csv(tmp_path / "out" / "nuclei.csv")
    tiles = pd.read_csv(tmp_path / "out" / "tiles.csv", index_col="tile")
    paths = sorted((conic_phantoms / TILES).iterdir())
    assert set(tiles.index) == {path.stem for path in paths}
    assert set(nuclei["tile"]) <= set(tiles.index)
    removed = 0
    for path in paths:
        tile, folder = np.asarray(Image.open(path)), tmp_path / "out" / path.stem
        expected = class_maps(tile)
        for result in RESULTS:
            np.testing.assert_array_equal(read_map(folder / f"{result}.png"), expected[result])
        foreground = np.asarray(Image.open(folder / "foreground.png")) / 65535
        np.testing.assert_allclose(foreground, probabilities(tile, "binary")[0], rtol=0, atol=1 / 65535)
        wanted = pieces(expected["combined"])
        rows = nuclei[nuclei["tile"] == path.stem]
        found = sorted(zip(rows["nucleus_class"], rows["area_px"], strict=True))
        assert found == sorted((CLASSES[number], mask.sum()) for number, mask in wanted)
        for number, name in enumerate(CLASSES[1:], start=1):
            areas = [mask.sum() for of_class, mask in wanted if of_class == number]
            assert tiles.loc[path.stem, [f"{name}_count", f"{name}_area_px"]].tolist() == [len(areas), sum(areas)]
        assert tiles.loc[path.stem, "background_share"] == pytest.approx((expected["combined"] == 0).mean(), abs=1e-6)
        differing = expected["multi_class"] != expected["combined"]
        assert tiles.loc[path.stem, "reuse_removed_px"] == differing.sum()
        removed += differing.sum()
    assert len(nuclei["nucleus_class"].unique()) > 2
    assert removed > 0


def test_smaller_nuclei_are_left_out_where_that_is_asked_for(conic_phantoms, tmp_path):
    models = save_weights(tmp_path / "models")
    counts = []
    for area in (1, 40):
        infer(conic_phantoms / TILES, tmp_path / str(area), models, {**STAND_INS, "minimum_area": area})
        found = pd.read_csv(tmp_path / str(area) / "nuclei.csv")
        maps = [class_maps(np.asarray(Image.open(path)))["combined"] for path in (conic_phantoms / TILES).iterdir()]
        assert len(found) == sum(len(pieces(class_map, area)) for class_map in maps)
        counts.append(len(found))
    assert counts[0] > counts[1] > 0


def test_predictions_of_an_evaluation_are_saved_where_that_is_asked_for(conic_phantoms, tmp_path):
    evaluate(conic_phantoms, tmp_path, save_weights(tmp_path / "models"), {**STAND_INS, "save_predictions": True})
    images = np.load(conic_phantoms / "images.npy")
    folders = sorted((tmp_path / "predictions").iterdir())
    assert [folder.name for folder in folders] == [f"phantom_3-000{number}" for number in range(4)]
    for folder, index in zip(folders, SPLITS["test"], strict=True):
        for result, expected in class_maps(images[index]).items():
            np.testing.assert_array_equal(read_map(folder / f"{result}.png"), expected)


class TestCheckpoints:
    @pytest.mark.parametrize("model", MODELS)
    @pytest.mark.parametrize("file", [False, True])
    def test_of_one_network(self, conic_phantoms, tmp_path, model, file):
        evaluate(conic_phantoms, tmp_path / "both", save_weights(tmp_path / "all"))
        models = save_weights(tmp_path / "models", MODELS if file else [model])
        (other,) = set(MODELS) - {model}
        if file:
            models = models / f"{model}.pt"
            evaluate(conic_phantoms, tmp_path / "one", models)
            infer(conic_phantoms / TILES, tmp_path / "out", models)
        else:
            for run, data, name in ((evaluate, "", "one"), (infer, TILES, "out")):
                with pytest.warns(UserWarning, match=f"models has no {other}.pt: {other} "):
                    run(conic_phantoms / data, tmp_path / name, models)
        expected, found = (read_scores(tmp_path / name) for name in ("both", "one"))
        rows = [f"{score}, {model}" for score in (*SCORES, "PQ")]
        assert sorted(found.index) == sorted(rows)
        assert not (tmp_path / "one" / "differences.csv").exists()
        pd.testing.assert_frame_equal(found, expected.loc[found.index, found.columns])
        for path in (conic_phantoms / TILES).iterdir():
            folder = tmp_path / "out" / path.stem
            pictures = {f"{model}.png", *(["foreground.png"] if model == "binary" else [])}
            assert {picture.name for picture in folder.glob("*.png")} == pictures
            expected_map = class_maps(np.asarray(Image.open(path)))[model]
            np.testing.assert_array_equal(read_map(folder / f"{model}.png"), expected_map)
            summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
            assert summary["result"] == model
            assert "reuse_removed_px" not in summary

    def run(self, run, data: Path, *places) -> str:
        with pytest.raises(RuntimeError) as raised:
            run(data / (TILES if run is infer else ""), *places)
        return sentence(raised.value)

    @pytest.mark.parametrize("run", [infer, evaluate])
    def test_none_at_all(self, conic_phantoms, tmp_path, run):
        (tmp_path / "models").mkdir()
        problem = self.run(run, conic_phantoms, tmp_path / "out", tmp_path / "models")
        assert "models holds no weights, none of multi_class.pt, binary.pt: " in problem
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("run", [infer, evaluate])
    def test_a_file_that_no_network_is_named_by(self, conic_phantoms, tmp_path, run):
        file = save_weights(tmp_path / "models") / "binary.pt"
        file = shutil.move(file, file.with_name("binary_checkpoint.pt"))
        problem = self.run(run, conic_phantoms, tmp_path / "out", file)
        assert "does not say by its name whose weights it holds: call it one of multi_class.pt, binary.pt" in problem
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("run", [infer, evaluate])
    def test_of_another_number_of_classes(self, conic_phantoms, tmp_path, run):
        models = save_weights(tmp_path / "models")
        torch.save(torch.nn.Conv2d(3, 4, 1).state_dict(), models / "multi_class.pt")
        problem = self.run(run, conic_phantoms, tmp_path / "out", models)
        assert "multi_class.pt does not fit Conv2d: " in problem
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("run", [infer, evaluate])
    def test_an_architecture_that_there_is_not(self, conic_phantoms, tmp_path, run):
        overrides = {**STAND_INS, "architectures": dict.fromkeys(MODELS, "nnunet")}
        problem = self.run(run, conic_phantoms, tmp_path / "out", save_weights(tmp_path / "models"), overrides)
        assert problem == "there is no architecture 'nnunet': choose one of pixels."
        assert not (tmp_path / "out").exists()
