"""A cross-validation of the light network: all photos in one evaluation, each by the network that never saw it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import LESION_CODES, LESIONS, deal_folds, read_layout
from tinylesions.datasets.phantoms import write_idrid_segmentation
from tinylesions.transforms import field_of_view_mask

from .configs import read_json
from .light import BUNDLE, SMALL, infer, parse, settle
from .pixels import average_precision_bounds, pool, read_maps

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*photos for training/validation/test")]


def run(data: Path, folder: Path, run_id: str, **more: Any) -> None:
    overrides = {**SMALL, **more, "folds": 2, "dataset_dir": data.as_posix(), "folds_dir": folder.as_posix()}
    configs = ["train_light", "evaluate", "cross_validate"]
    run_workflow(build_workflow(BUNDLE, configs, overrides, "train", run_id))


def settle_folds(data: Path, folder: Path, items: list[dict[str, Any]]) -> None:
    preprocessing = parse("train_light", **SMALL, dataset_dir=data.as_posix()).get_parsed_content(
        "validate#preprocessing"
    )
    for fold in range(2):
        trained = next(item for item in items if item["fold"] != fold)
        settle(folder / f"fold_{fold}", folder / "settled", preprocessing(trained)["image"].as_tensor())
        shutil.move(folder / "settled" / "model.pt", folder / f"fold_{fold}" / "model.pt")
        shutil.rmtree(folder / "settled")


def predicted(folder: Path, items: list[dict[str, Any]], networks: tuple[int, int]) -> dict[str, Any]:
    """Lesion → truth and scores of all photos, those of a fold by the network of `networks` for it."""
    pixels: dict[str, list[Any]] = {lesion: [] for lesion in LESIONS}
    for item in items:
        path = Path(item["image"])
        name = f"network_{networks[item['fold']]}_{path.stem}"
        (folder / name).mkdir(exist_ok=True)
        shutil.copy(path, folder / name / path.name)
        infer(folder / name, folder / name / "out", folder / f"fold_{networks[item['fold']]}" / "model.pt")
        inside = field_of_view_mask(np.asarray(Image.open(path)).transpose(2, 0, 1))
        for lesion, scores in zip(LESIONS, read_maps(folder / name / "out" / path.stem), strict=True):
            masks = list(path.parents[2].rglob(f"{path.stem}_{LESION_CODES[lesion]}.tif"))
            truth = np.asarray(Image.open(masks[0])) > 0 if masks else np.zeros(inside.shape, bool)
            pixels[lesion].append((truth, scores, inside))
    return {lesion: pool(photos) for lesion, photos in pixels.items()}


def test_every_photo_is_scored_by_the_network_that_never_saw_it(tmp_path):
    data = write_idrid_segmentation(tmp_path / "idrid", training=4, testing=1, size=(192, 256))
    folder = tmp_path / "folds"
    run(data, folder, "cross_validation")
    items = deal_folds(read_layout("idrid", data), 2)
    assert len(items) == 4
    for fold in range(2):
        left = {path.name for path in (folder / f"fold_{fold}").iterdir() if "tfevents" not in path.name}
        assert left == {"model.pt", "checkpoint.pt", "training.json", "run.json"}
        settings = read_json(folder / f"fold_{fold}" / "run.json")["settings"]
        assert (settings["fold"], settings["folds"]) == (fold, 2)
    whole = {path.name for path in folder.iterdir()}
    assert whole == {"fold_0", "fold_1", "run.json", "scores.csv", "operating_points.csv"}

    settle_folds(data, folder, items)  # else all networks say the same of all photos
    run(data, folder, "score_folds", pretrained="nowhere.pth")  # scoring starts from no weights but the folds'
    scores = pd.read_csv(folder / "scores.csv", index_col="score").loc["average precision (exact)"]
    points = pd.read_csv(folder / "operating_points.csv", index_col="lesion")
    assert list(points.index) == list(LESIONS)
    held_out, swapped = (predicted(folder, items, networks) for networks in ((0, 1), (1, 0)))
    for lesion in LESIONS:
        least, most = average_precision_bounds(*held_out[lesion])
        assert least <= scores[lesion] <= most, lesion
        truth, probability = held_out[lesion]
        found = probability >= points.loc[lesion, "threshold"]
        dice = 2 * (truth & found).sum() / (truth.sum() + found.sum())
        assert points.loc[lesion, "dice"] == pytest.approx(dice, rel=0.02), lesion
    outside = [average_precision_bounds(*swapped[lesion]) for lesion in LESIONS]
    assert any(not least <= scores[lesion] <= most for lesion, (least, most) in zip(LESIONS, outside, strict=True))

    # a cross-validation that is complete goes on to nothing
    before = (folder / "fold_1" / "checkpoint.pt").read_bytes()
    run(data, folder, "cross_validation")
    assert (folder / "fold_1" / "checkpoint.pt").read_bytes() == before
