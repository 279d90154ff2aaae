"""The light network, from the training to what is written for a photo."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ReferenceResolver, verify_net_in_out
from monai.transforms import Compose
from PIL import Image
from skimage.measure import label
from torch.nn import functional

from tinylesions.apps.workflows import run_workflow
from tinylesions.datasets import CLASSES, LESIONS, store_thresholds
from tinylesions.networks import EfficientNetUNet, load_checkpoint

from .configs import all_ids, dead_ids, merge, properties_of, read_json, references
from .light import BUNDLE, SMALL, WIDTHS, evaluate, infer, parse, places, settle, training
from .pixels import TEST_PHOTOS, average_precision_bounds, enlarge, pool, read_maps, read_truth

ROADS = {
    ("train_light",): "training",
    ("train_light", "evaluate"): "evaluate",
    ("train_light", "evaluate", "cross_validate"): "cross_validation",
}

Pixels = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Road:
    """What a training left, and with its settled weights an evaluation and an inference."""

    data: Path
    folder: Path
    thresholds: dict[str, float]

    @property
    def trained(self) -> Path:
        return self.folder / "models"

    @property
    def weights(self) -> Path:
        return self.folder / "settled" / "model.pt"


@pytest.fixture(scope="module")
def road(idrid_phantoms, tmp_path_factory) -> Road:
    folder = tmp_path_factory.mktemp("light")
    workflow = training(idrid_phantoms, folder)
    run_workflow(workflow)
    preprocessing = workflow.parser.get_parsed_content("validate#preprocessing")
    photo = preprocessing(photo_item(idrid_phantoms))["image"].as_tensor()
    thresholds = settle(folder / "models", folder / "settled", photo)
    store_thresholds(folder / "settled", thresholds)
    settled = {"ckpt_dir": (folder / "settled").as_posix(), "output_dir": (folder / "scored").as_posix()}
    evaluate(idrid_phantoms, folder, **settled)
    infer(idrid_phantoms / TEST_PHOTOS, folder / "prediction", folder / "settled" / "model.pt")
    return Road(idrid_phantoms, folder, thresholds)


def photo_item(data: Path) -> dict[str, Any]:
    path = sorted((data / TEST_PHOTOS).iterdir())[0]
    return {"id": path.stem, "image": str(path), "photo": str(path), "label": {}}


def written(road: Road, lesion: str) -> Pixels:
    """(truth, probability, inside of the field of view) of each test photo, (H, W) each."""
    pixels = []
    for path in sorted((road.data / TEST_PHOTOS).iterdir()):
        truth, inside = read_truth(path, lesion)
        pixels.append((truth, read_maps(road.folder / "prediction" / path.stem)[LESIONS.index(lesion)], inside))
    return pixels


def masks_of(road: Road, lesion: str) -> list[np.ndarray]:
    """The truth of all test photos, each with an empty column after it, so that no two touch."""
    return [np.pad(truth, ((0, 0), (0, 1))) for truth, _, _ in written(road, lesion)]


class TestConfigs:
    @pytest.mark.parametrize("configs", ROADS)
    def test_references_and_dead_ids(self, configs):
        parser = merge(BUNDLE.config_files(*configs))
        assert not [id for id in references(parser.get()) if id not in parser]
        shorter = [known for known in ROADS if known != configs and configs[: len(known)] == known]
        run_ids = {"score_folds", "ship", ROADS[configs], *(ROADS[known] for known in shorter)}
        idle = {id for known in shorter for id in all_ids(merge(BUNDLE.config_files(*known)).get())}
        found = dead_ids(parser.get(), run_ids, properties_of("train")) - idle
        assert found == ({"val_overlap"} if configs == ("train_light", "evaluate") else set())

    @pytest.mark.parametrize("configs", ROADS)
    def test_run_ids(self, configs):
        config = merge(BUNDLE.config_files(*configs)).get()
        assert isinstance(config["run"], list)
        run, typed = ([ReferenceResolver.normalize_id(line) for line in config[id]] for id in ("run", ROADS[configs]))
        assert run == typed, "the Zoo runs `run`, people type the other"
        assert config["bundle_root"] == "."

    def test_evaluations_see_the_fold_that_is_held_out(self, idrid_phantoms):
        chosen = {"dataset_dir": idrid_phantoms.as_posix(), "folds": 3, "split": "validation"}
        held_out = []
        for fold in range(3):
            parser = parse("train_light", "evaluate", **chosen, fold=fold)
            scored, trained = (
                [item["id"] for item in parser.get_parsed_content(f"{purpose}#dataset#data")]
                for purpose in ("validate", "train")
            )
            assert sorted(scored + trained) == ["IDRiD_01", "IDRiD_02", "IDRiD_03"]
            held_out += scored
        assert sorted(held_out) == ["IDRiD_01", "IDRiD_02", "IDRiD_03"]


def test_training_leaves_its_files(road):
    assert {path.name for path in road.trained.iterdir()} == {"model.pt", "checkpoint.pt", "training.json"}
    output = {path.name for path in (road.folder / "output").iterdir()}
    assert {name for name in output if not name.startswith("events.out.tfevents")} == {"run.json"}
    settings = read_json(road.folder / "output" / "run.json")["settings"]
    assert {key: settings[key] for key in SMALL if key in settings} == {
        key: value for key, value in SMALL.items() if key not in ("device", "precision", "flips")
    }
    assert read_json(road.trained / "training.json") == {
        "lesions": list(LESIONS),
        "activation": "sigmoid",
        "crop_method": "threshold",
        "longest_side": 112,
        "background_sigma": 0.1,
        "flips": [[], [1]],
        "networks": {"model": {"architecture": "efficientnet_unet", "arguments": {"widths": WIDTHS, "nested": True}}},
    }


def test_the_average_of_the_weights_is_kept(road):
    checkpoint, kept = (torch.load(road.trained / f"{name}.pt") for name in ("checkpoint", "model"))
    assert kept.keys() == checkpoint["network"].keys()
    assert all(torch.equal(value, checkpoint["ema"][f"module.{name}"]) for name, value in kept.items())
    assert any(not torch.equal(value, checkpoint["network"][name]) for name, value in kept.items())
    assert checkpoint["trainer"]["iteration"] == 4


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(road, tmp_path):
    workflow = training(road.data, tmp_path)
    workflow.initialize()

    def interrupt(engine):
        raise RuntimeError("the power is cut")

    trainer = workflow.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), interrupt)  # within the second epoch
    with pytest.raises(RuntimeError):
        workflow.run()
    cut = torch.load(tmp_path / "models" / "checkpoint.pt")
    whole = torch.load(road.trained / "checkpoint.pt")
    assert cut["trainer"]["iteration"] == 2
    assert any(not torch.equal(value, whole["network"][name]) for name, value in cut["network"].items())
    run_workflow(training(road.data, tmp_path))
    for name in ("checkpoint.pt", "model.pt"):
        expected, found = (torch.load(folder / name) for folder in (road.trained, tmp_path / "models"))
        for key in ("settings", "lr_scheduler"):  # which have texts in them
            assert found.pop(key, None) == expected.pop(key, None)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_network_always_gets_the_same(road):
    """Of one photo: in validations, in inferences and, before the crops, in a training with the same filter."""
    same = {"background_sigma": {"training": 0.1, "prediction": 0.1}}
    trained = parse("train_light", **SMALL, **same, **places(road.data, road.folder))
    used = parse("inference", ckpt_path=road.weights.as_posix())
    validated, predicted = (
        parser.get_parsed_content(id)(photo_item(road.data))["image"]
        for parser, id in ((trained, "validate#preprocessing"), (used, "preprocessing"))
    )
    assert torch.equal(validated.as_tensor(), predicted.as_tensor())
    assert all(side % 32 == 0 for side in predicted.shape[1:])
    image = photo_item(road.data)
    for transform in trained.get_parsed_content("train#deterministic_transforms"):
        image = transform(image)
    image = trained.get_parsed_content("train#scaling")(image)["image"]
    assert max(image.shape[1:]) == 112
    top, left = ((padded - side) // 2 for padded, side in zip(predicted.shape[1:], image.shape[1:], strict=True))
    assert top > 0
    assert left > 0
    bottom, right = (predicted.shape[axis + 1] - image.shape[axis + 1] - (top, left)[axis] for axis in (0, 1))
    assert torch.equal(predicted.as_tensor(), functional.pad(image.as_tensor(), (left, right, top, bottom)))
    # 0.5 is the retina's own colour, and ImageNet's mean and deviation are those of a range of 0 to 1
    shifted = image.as_tensor() * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    shifted += torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    assert -1e-6 <= shifted.min() < 0.3
    assert shifted[:, 56, 56].tolist() == pytest.approx([0.5] * 3, abs=0.3)


def test_the_prediction_is_what_the_network_says(road):
    item = photo_item(road.data)
    preprocessing = parse("inference", ckpt_path=road.weights.as_posix()).get_parsed_content("preprocessing")
    image = preprocessing(item)["image"].as_tensor()[None]
    network = load_checkpoint(EfficientNetUNet(widths=WIDTHS, nested=True), road.weights).eval()
    with torch.inference_mode():
        logits = (network(image) + network(image.flip(3)).flip(3)) / 2
    height, width = Compose(preprocessing.transforms[:-1])(item)["image"].shape[1:]
    top, left = (128 - height) // 2, (128 - width) // 2
    probability = logits.sigmoid()[0, :, top : top + height, left : left + width].numpy()
    inside = read_truth(Path(item["photo"]), LESIONS[0])[1]
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    found = read_maps(road.folder / "prediction" / item["id"])[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for lesion, expected in zip(found, probability, strict=True):
        grown = enlarge(expected, lesion.shape)
        assert np.corrcoef(lesion.ravel(), grown.ravel())[0, 1] > 0.99
        np.testing.assert_allclose(lesion, grown, rtol=0, atol=0.1 * grown.max())


def test_scores_are_those_of_what_is_written(road):
    """The evaluation's config and the inference's build the same road from the photo to the map."""
    scores = pd.read_csv(road.folder / "scored" / "scores.csv", index_col="score").loc["average precision (exact)"]
    for lesion in LESIONS:
        least, most = average_precision_bounds(*pool(written(road, lesion)))
        assert least <= scores[lesion] <= most, lesion
    assert scores["mean"] == pytest.approx(scores[list(LESIONS)].mean())


def test_operating_points_are_at_the_stored_thresholds(road):
    table = pd.read_csv(road.folder / "scored" / "operating_points.csv", index_col="lesion")
    assert table["threshold"].to_dict() == pytest.approx(road.thresholds)
    assert set(road.thresholds) == set(LESIONS)
    for lesion in LESIONS:
        truth, scores = pool(written(road, lesion))
        predicted = scores >= road.thresholds[lesion]
        hits = (truth & predicted).sum()
        assert 0 < hits < predicted.sum() < len(scores)
        recall, precision = hits / truth.sum(), hits / predicted.sum()
        dice = 2 * hits / (truth.sum() + predicted.sum())
        assert table.loc[lesion, "recall"] == pytest.approx(recall, rel=0.02), lesion
        assert table.loc[lesion, "precision"] == pytest.approx(precision, rel=0.02), lesion
        assert table.loc[lesion, "dice"] == pytest.approx(dice, rel=0.02), lesion
        assert table.loc[lesion, "lesions"] == label(np.hstack(masks_of(road, lesion)), connectivity=2).max()


def test_labels_are_at_the_stored_thresholds(road):
    limits = np.array([road.thresholds[lesion] for lesion in LESIONS])[:, None, None]
    for path in sorted((road.data / TEST_PHOTOS).iterdir()):
        folder = road.folder / "prediction" / path.stem
        maps, inside = read_maps(folder), read_truth(path, LESIONS[0])[1]
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        assert summary["thresholds"] == pytest.approx(road.thresholds)
        found = np.asarray(Image.open(folder / "label_map.png"))
        log_odds = np.log(maps.clip(1e-9)) - np.log1p(-maps.clip(max=1 - 1e-9))
        above = log_odds - np.log(limits / (1 - limits))
        expected = np.where(above.max(0) >= 0, above.argmax(0) + CLASSES.index(LESIONS[0]), CLASSES.index("other"))
        first, second = np.sort(above, axis=0)[[-1, -2]]
        clear = inside & (abs(first) > 0.01) & (first - second > 0.01)  # what 16 bits can tell
        assert clear.sum() > 0.5 * inside.sum()
        np.testing.assert_array_equal(found[clear], expected[clear])
        assert len(np.unique(found[inside])) > 1
        assert (found[~inside] == CLASSES.index("black_background")).all()


def test_the_network_takes_and_gives_what_the_metadata_says(road):
    (config,) = BUNDLE.config_files("inference")
    metadata = BUNDLE.root / "configs" / "metadata.json"
    output = read_json(metadata)["network_data_format"]["outputs"]["pred"]
    assert tuple(output["channel_def"].values()) == LESIONS
    for n in (1, 2):
        verify_net_in_out("network_def", str(metadata), config, device="cpu", n=n, ckpt_path=road.weights.as_posix())
