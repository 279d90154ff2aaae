from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from PIL import Image
from sklearn.metrics import average_precision_score
from torch import nn

from tinylesions.apps.workflows import build_workflow
from tinylesions.datasets import InputError, read_layout, save_datalist
from tinylesions.transforms import VARIANTS

from .command_tester import Stage
from .configs import merge
from .pixels import TEST_PHOTOS, break_even, enlarge, pool, read_maps, read_truth, shrink
from .tester import BundleTester

LESIONS = ("microaneurysm", "haemorrhage")
MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
TRAIN, STAGE_2 = "train#trainer", "stage_2#trainer"


def colours(x: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) in 0 to 255 of what the network gets."""
    return x * STD[:, None, None] + MEAN[:, None, None]


class Colours(nn.Module):
    """Stands for a network whose probabilities are the shares of red and green."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.logit(colours(x)[:, :2] / 255)


def redness(red: Any, green: Any, lesion: int) -> Any:
    """Probability in 32 steps of a colour without green; no mean of 9, 12 or 16 whole numbers lies on a step's edge."""
    step = (red - (3, 2)[lesion] * green + (75, 0)[lesion] + 1 / 300) // 4
    return (step.clip(0, 31) + 0.3) / 32


class Redness(nn.Module):
    """Stands for a network that finds some of the lesions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        red, green, _ = colours(x).unbind(1)
        return torch.logit(torch.stack([redness(red, green, lesion) for lesion in range(2)], dim=1))


class Stopped(Exception):
    """Stands for whatever ends a training before its time."""


def literal_share(iteration: int, initial: float, period: int, iterations: int) -> float:
    """λ(r) = λ₀ − λ₀ / (M / S) · ⌊r / S⌋ of the paper's section 2.2.1."""
    return initial - initial / (iterations / period) * (iteration // period)


def state(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def assert_same_weights(expected: Path, found: Path, names: Sequence[str] = ("stage_1.pt", "model.pt")) -> None:
    for name in names:
        torch.testing.assert_close(state(found / name), state(expected / name), rtol=0, atol=0)


def assert_input_error(problem: BaseException | None, match: str) -> None:
    """The error below what MONAI wraps it into says `match`."""
    raised = problem
    while raised is not None and not isinstance(raised, InputError):
        raised = raised.__cause__
    assert raised is not None, problem
    assert match in str(raised)


class TestFundusRedLesionSegmentation(BundleTester):
    name = "fundus_red_lesion_segmentation"
    dataset, photos = "idrid_phantoms", TEST_PHOTOS
    roads: ClassVar = BundleTester.roads | {("train", "evaluate", "side_outputs"): "side_outputs"}
    parts: ClassVar = {"stage1", "stage2"}
    stages: ClassVar = (
        Stage(checkpoint="stage_1_checkpoint.pt"),
        Stage(STAGE_2, "stage_2_loss", "stage_2_checkpoint.pt", "stage_2_epochs"),
    )
    small: ClassVar = {
        "widths": [2, 2, 4, 4, 4],
        "longest_side": 96,
        "device": "$torch.device('cpu')",
        "precision": "float32",
    }
    short: ClassVar = {
        "learning_rate": 0.02,
        "negative_share": 0.5,
        "negative_share_period": 10,
        "max_epochs": 2,
        "stage_2_epochs": 2,
        "stage_2_learning_rate": 0.01,
    }
    unscored: ClassVar = {"val_interval": 9, "validate#additional_metrics": None}
    """Overrides of a training whose metrics are not read."""
    killed: ClassVar = {"longest_side": 256, "widths": [8, 8, 8, 8, 8], "max_epochs": 3, "stage_2_epochs": 3}
    trained: ClassVar = {
        "models/stage_1.pt",
        "models/stage_1_checkpoint.pt",
        "models/model.pt",
        "models/stage_2_checkpoint.pt",
        "output/run.json",
        "output/metrics.csv",
    }
    key_metric = "mean_average_precision"
    scores: ClassVar = {"scores.csv"}
    pictures: ClassVar = {"side_outputs"}
    tables: ClassVar = {"lesions.csv", "photos.csv", "run.json"}
    predicted: ClassVar = {f"{lesion}.png" for lesion in LESIONS} | {
        "label_map.png",
        "overlay.jpg",
        "lesions.csv",
        "summary.json",
    }

    def training(self, data: Path, folder: Path, run_id: str = "training", **overrides: Any) -> ConfigWorkflow:
        """A training whose models and output lie in `folder`, not started."""
        overrides = {**self.data_overrides(data, folder), **overrides}
        return build_workflow(self.bundle, ["train"], overrides, "train", run_id)

    def train(self, workflow: ConfigWorkflow) -> list[tuple[str, int]]:
        """Run a training and return the epochs it trained."""
        workflow.initialize()
        epochs = self.spy_on_epochs(workflow)
        workflow.run()
        workflow.finalize()
        return epochs

    def test_lesions_are_the_bundle_s_classes_in_every_config(self):
        assert self.bundle.classes == LESIONS
        for configs in self.roads:
            config = self.merged(configs)
            assert tuple(config["lesions"]) == LESIONS
            assert len(config["branches"]) == len(LESIONS)

    def test_the_last_weights_of_each_stage_are_kept(self, road):
        for weights, checkpoint in (("stage_1.pt", "stage_1_checkpoint.pt"), ("model.pt", "stage_2_checkpoint.pt")):
            last = state(road.models / checkpoint)["network"]
            torch.testing.assert_close(state(road.models / weights), last, rtol=0, atol=0)
        first, second = (state(road.models / name) for name in ("stage_1.pt", "model.pt"))
        assert any((first[key] != second[key]).any() for key in first)

    def test_metrics_go_on_through_both_stages(self, road):
        metrics = pd.read_csv(road.output / "metrics.csv")
        assert metrics["epoch"].tolist() == [1, 2, 3, 4]
        for stage, epochs in zip(self.stages, ([1, 2], [1, 2, 3, 4]), strict=True):
            rows = state(road.models / stage.checkpoint)["metrics_log"]["rows"]
            assert [row["epoch"] for row in rows] == epochs
        names = [f"reduced_{score}_{lesion}" for score in ("precision", "recall") for lesion in LESIONS]
        assert metrics[[self.key_metric, *names]].notna().to_numpy().all()

    def test_side_outputs_are_drawn(self, road):
        folder = road.output / "side_outputs"
        assert {path.name for path in folder.iterdir()} == {
            f"{path.stem}.png" for path in (road.data / TEST_PHOTOS).iterdir()
        }
        for path in folder.iterdir():
            width, height = Image.open(path).size
            # the photo, the truth, conv2 to conv5 and the fusion, for two lesions
            assert width >= 7 * 96
            assert height >= 2 * 72

    def test_stages_one_by_one_are_the_training_in_one_run(self, road, tmp_path):
        epochs = [self.train(self.training(road.data, tmp_path, run_id)) for run_id in ("stage1", "stage2")]
        assert epochs == [[(TRAIN, 1), (TRAIN, 2)], [(STAGE_2, 1), (STAGE_2, 2)]]
        assert_same_weights(road.models, tmp_path / "models")
        expected, found = (pd.read_csv(folder / "metrics.csv") for folder in (road.output, tmp_path / "output"))
        pd.testing.assert_frame_equal(found, expected)

    @pytest.mark.parametrize(
        ("stage", "left"),
        [(TRAIN, [(TRAIN, 2), (STAGE_2, 1), (STAGE_2, 2)]), (STAGE_2, [(STAGE_2, 2)])],
        ids=["stage 1", "stage 2"],
    )
    def test_an_interrupted_training_goes_on(self, road, tmp_path, stage, left):
        def stop(engine: Any) -> None:
            raise Stopped

        first = self.training(road.data, tmp_path, **self.unscored)
        first.initialize()
        trainer = first.parser.get_parsed_content(stage)
        length = trainer.state.epoch_length
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=length + 5), stop)
        with pytest.raises(RuntimeError) as raised:
            first.run()
        assert isinstance(raised.value.__cause__, Stopped)

        second = self.training(road.data, tmp_path, **self.unscored)
        second.initialize()
        epochs, shares = self.spy_on_epochs(second), {}
        loss = second.parser.get_parsed_content("train#top_k_loss")
        second.parser.get_parsed_content(TRAIN).add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: shares.update({engine.state.iteration: loss.negative_share})
        )
        second.run()
        assert epochs == left
        trained = range(length + 1, 2 * length + 1) if stage == TRAIN else []
        assert shares == pytest.approx({i: literal_share(i, 0.5, 10, 2 * length) for i in trained})
        assert len(set(shares.values())) == (3 if shares else 0)
        assert_same_weights(road.models, tmp_path / "models")

    def test_the_share_of_negatives_has_fallen_when_the_first_stage_ends(self, road):
        loss = road.workflows[("train",)].parser.get_parsed_content("train#top_k_loss")
        iterations = state(road.models / "stage_1_checkpoint.pt")["trainer"]["iteration"]
        assert iterations == 2 * 6 * 3
        share = literal_share(iterations, 0.5, 10, iterations)
        assert loss.negative_share == pytest.approx(share)
        assert 0 < share < 0.5

    def test_the_second_stage_s_settings_leave_the_first_as_it_is(self, road, tmp_path):
        shutil.copytree(road.models, tmp_path / "models")
        with pytest.raises(RuntimeError) as raised:
            self.train(self.training(road.data, tmp_path, stage_2_epochs=1, **self.unscored))
        assert_input_error(raised.value, "stage_2_checkpoint.pt is of a training with another stage_2_epochs: ")

        (tmp_path / "models" / "stage_2_checkpoint.pt").unlink()
        assert self.train(self.training(road.data, tmp_path, stage_2_epochs=1, **self.unscored)) == [(STAGE_2, 1)]
        assert_same_weights(road.models, tmp_path / "models", ["stage_1.pt"])

    @pytest.mark.parametrize("lost", ["no file", "one epoch of two"])
    def test_the_second_stage_wants_a_complete_first(self, road, tmp_path, lost):
        (tmp_path / "models").mkdir()
        if lost != "no file":
            checkpoint = state(road.models / "stage_1_checkpoint.pt")
            checkpoint["trainer"]["iteration"] //= 2
            torch.save(checkpoint, tmp_path / "models" / "stage_1_checkpoint.pt")
        with pytest.raises(RuntimeError) as raised:
            self.train(self.training(road.data, tmp_path, "stage2", **self.unscored))
        sentence = "run the stage before" if lost == "no file" else "stage_1_checkpoint.pt holds 1 of 2 epochs"
        assert_input_error(raised.value, sentence)
        assert not (tmp_path / "models" / "model.pt").exists()

    def test_a_first_stage_that_trains_anew_is_followed_by_a_new_second(self, road, tmp_path):
        shutil.copytree(road.models, tmp_path / "models")
        (tmp_path / "models" / "stage_1_checkpoint.pt").unlink()
        epochs = self.train(self.training(road.data, tmp_path, learning_rate=0.5, **self.unscored))
        assert epochs == [(TRAIN, 1), (TRAIN, 2), (STAGE_2, 1), (STAGE_2, 2)]
        before, after = (state(folder / "model.pt") for folder in (road.models, tmp_path / "models"))
        assert any((before[name] != after[name]).any() for name in before)

    def test_another_learning_rate_is_another_training(self, road, tmp_path):
        shutil.copytree(road.models, tmp_path / "models")
        with pytest.raises(RuntimeError) as raised:
            self.train(self.training(road.data, tmp_path, learning_rate=0.5, **self.unscored))
        assert_input_error(raised.value, "stage_1_checkpoint.pt is of a training with another learning_rate: ")
        assert_same_weights(road.models, tmp_path / "models")

    def test_scores_against_scikit_learn(self, idrid_phantoms, tmp_path):
        self.infer(idrid_phantoms / TEST_PHOTOS, tmp_path, Redness())
        overrides = self.data_overrides(idrid_phantoms, tmp_path) | {"ckpt_path": str(tmp_path / "no_weights.pt")}
        self.run(("train", "evaluate"), {**overrides, "network_def": Redness()})
        table = pd.read_csv(tmp_path / "output" / "scores.csv", index_col="score")
        for index, lesion in enumerate(LESIONS):
            full, reduced = [], []
            for path in sorted((idrid_phantoms / TEST_PHOTOS).iterdir()):
                truth, inside = read_truth(path, lesion)
                photo = np.asarray(Image.open(path))
                red, green = (shrink(photo[..., channel], (72, 96), np.mean) for channel in range(2))
                small = redness(red, green, index)
                whole = enlarge(small, truth.shape)
                written = read_maps(tmp_path / path.stem, LESIONS)[index]
                np.testing.assert_allclose(written, whole, rtol=0, atol=1 / 65535)
                full.append((truth, whole, inside))
                reduced.append((shrink(truth, (72, 96), np.any), small, shrink(inside, (72, 96), np.any)))
            # rounded, pixels of one step are equal again; the metric's bins of 12 bits join a few more
            truth, scores = pool(full)
            area = average_precision_score(truth, scores.round(5))
            assert table.loc["average precision (exact)", lesion] == pytest.approx(area, rel=1e-3)
            precision, recall = break_even(*pool(reduced))
            expected = {
                "average precision (exact), reduced size": average_precision_score(*pool(reduced)),
                "precision at break-even, reduced size": precision,
                "recall at break-even, reduced size": recall,
            }
            assert table[lesion][list(expected)].to_dict() == pytest.approx(expected, rel=1e-6)
            assert 0.01 < precision < 0.99
            assert 0.01 < recall < 0.99

    def test_prediction_lies_where_the_photo_is(self, tmp_path):
        sizes = [(150, 221), (221, 150), (96, 96), (61, 83), (83, 33)]  # the last two are smaller than the network's
        (tmp_path / "photos").mkdir()
        photos = {}
        for height, width in sizes:
            rows, columns = np.mgrid[:height, :width]
            photo = np.stack([40 + 0.8 * rows, 220 - 0.8 * columns, 80 + 0 * rows], axis=-1).round().astype(np.uint8)
            photos[f"{height}x{width}"] = photo
            Image.fromarray(photo).save(tmp_path / "photos" / f"{height}x{width}.png")
        self.infer(tmp_path / "photos", tmp_path, Colours())
        for name, photo in photos.items():
            maps = 255 * read_maps(tmp_path / name, LESIONS).transpose(1, 2, 0)
            assert maps.shape == (*photo.shape[:2], 2)
            # half a grey level of rounding, and at most a pixel's slope where a shrunk pixel's windows are uneven
            difference = np.abs(maps - photo[..., :2].astype(float))
            assert difference.max() < 1.5, name
            assert difference.mean() < 0.5, name

    def test_a_microaneurysm_of_one_pixel_stays_in_every_variant(self, tmp_path):
        random, items = np.random.default_rng(0), []
        for split in ("training", "test"):
            photo = np.full((192, 255, 3), 100, np.uint8)
            label = {}
            for channel, lesion in enumerate(LESIONS):
                mask = np.zeros((192, 255), bool)
                mask.flat[random.choice(mask.size, 5, replace=False)] = True
                photo[mask, channel] = 255
                label[lesion] = str(tmp_path / f"{split}_{lesion}.png")
                Image.fromarray(mask).save(label[lesion])
            image = str(tmp_path / f"{split}.png")
            Image.fromarray(photo).save(image)
            items.append({"id": split, "image": image, "label": label, "split": split})
        save_datalist(items, tmp_path / "datalist.json")
        parser = merge(self.bundle.config_files("train"))
        parser.update(
            {
                **self.small,
                "layout": "json",
                "dataset_dir": str(tmp_path / "datalist.json"),
                "training_splits": ["training"],
            }
        )
        dataset = parser.get_parsed_content("train#dataset")
        assert len(dataset) == len(VARIANTS) == 6
        placed = set()
        for item in dataset:
            image, label = (torch.as_tensor(item[key]) for key in ("image", "label"))
            assert sorted(image.shape[1:]) == [72, 96]
            assert label.shape == (2, *image.shape[1:])
            brighter = colours(image)[:2] > 100.5
            assert torch.equal(label > 0, brighter)
            assert (label.flatten(1).sum(1) >= 4).all()
            placed.add((tuple(label.shape), label.numpy().tobytes()))
        assert len(placed) == 6

    @pytest.mark.parametrize(
        ("overrides", "sentence"),
        [
            ({"layout": "json"}, "the datalist has no photo for 'test' (it has: training)"),
            ({"pretrained": "nowhere.pth"}, "nowhere.pth: no such weights file"),
        ],
    )
    def test_bad_input_is_named(self, idrid_phantoms, tmp_path, overrides, sentence):
        if "layout" in overrides:
            photos = [item for item in read_layout("idrid", idrid_phantoms) if item["split"] == "training"]
            save_datalist(photos, tmp_path / "datalist.json")
            overrides = overrides | {"dataset_dir": tmp_path / "datalist.json", "training_splits": ["training"]}
        with pytest.raises(RuntimeError) as raised:
            self.train(self.training(idrid_phantoms, tmp_path, **overrides))
        assert_input_error(raised.value, sentence)
        assert not (tmp_path / "models").exists()
