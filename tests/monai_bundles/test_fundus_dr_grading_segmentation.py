from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from PIL import Image
from sklearn import metrics

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import LESIONS, load_datalist, read_layout, save_datalist
from tinylesions.datasets.phantoms import write_idrid_grading
from tinylesions.monai_bundles import find_bundle
from tinylesions.networks import TaskNetwork, load_checkpoint

from .configs import merge
from .pixels import TEST_PHOTOS, enlarge, pool, read_maps, read_truth, shrink
from .tester import BundleTester

MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
SIZE = (96, 64)
"""Of the network: no photo of 192x256 keeps its proportions, and each of its pixels is the mean of 2x4."""
SMALL = {
    "widths": [4, 4, 4, 4, 4],
    "spatial_size": list(SIZE),
    "device": "$torch.device('cpu')",
    "precision": "float32",
}
PSEUDO = "pseudo_labels"
REDNESS = (115, 135, 125, 99, 105)
"""Of a photo of each grade, on average; wrong for some of the phantoms."""


def grade_logits(red: Any) -> list[Any]:
    """Logits of a photo with that mean of red."""
    return [-(((red - typical) / 8) ** 2) for typical in REDNESS]


def lesion_probabilities(red: Any, green: Any, blue: Any) -> list[Any]:
    """Probabilities in 16 steps of a colour, of each lesion.

    No mean of 8 whole numbers lies on a step's edge, and no two classes are equally probable, not even after a bilinear
    interpolation from 64 to 256 columns.
    """
    values = (red - 3 * green + 75, red - 2 * green + 10, green - 90, 2 * (green + blue) - 250)
    steps = [((value + 1 / 300) // 4).clip(0, 15) for value in values]
    return [share * (step + 0.3) / 16 for share, step in zip((0.47, 0.46, 0.48, 0.45), steps, strict=True)]


def photo_probabilities(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """What `Colours` says of a photo: the grade's (5,), and the classes' at the network's size (5, H, W)."""
    photo = np.asarray(Image.open(path))
    lesions = lesion_probabilities(*shrink_photo(photo))
    other = 1 - sum(lesions)
    assert (other > 0).all()
    logits = np.exp(grade_logits(photo[..., 0].mean()))
    return logits / logits.sum(), np.stack([other, *lesions])


def shrink_photo(photo: np.ndarray) -> np.ndarray:
    return np.stack([shrink(photo[..., channel], SIZE, np.mean) for channel in range(3)])


class Colours(TaskNetwork):
    """Stands for a network that finds some of the grades and lesions."""

    def __init__(self) -> None:
        super().__init__(("grade", "segmentation"), "segmentation")

    def forward_tasks(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        colours = x * STD[:, None, None] + MEAN[:, None, None]
        lesions = torch.stack(self.lesions(*colours.unbind(1)), dim=1)
        classes = torch.cat([1 - lesions.sum(1, keepdim=True), lesions], dim=1)
        grades = torch.stack(grade_logits(colours[:, 0].mean(dim=(1, 2))), dim=1)
        return {"grade": grades, "segmentation": classes.clamp_min(1e-9).log()}

    def lesions(self, red: torch.Tensor, green: torch.Tensor, blue: torch.Tensor) -> list[torch.Tensor]:
        return lesion_probabilities(red, green, blue)


class Shares(Colours):
    """Stands for a network whose lesions' probabilities are shares of red, green, blue and nothing."""

    share = 0.3

    def lesions(self, red: torch.Tensor, green: torch.Tensor, blue: torch.Tensor) -> list[torch.Tensor]:
        return [self.share * colour / 255 for colour in (red, green, blue, 0 * red)]


class Stopped(Exception):
    """Stands for whatever ends a training before its time."""


def pseudo_label(data: Path, folder: Path, **overrides: Any) -> ConfigWorkflow:
    """A run that labels the phantoms in `data` and leaves everything in `folder`, not started."""
    short = {f"schedules#{name}#max_epochs": 1 for name in ("grading", "segmentation")}
    places = {
        "grading_dir": data.as_posix(),
        "segmentation_dir": data.as_posix(),
        "pseudo_dir": (folder / PSEUDO).as_posix(),
        "ckpt_dir": (folder / "single_task").as_posix(),
        "output_dir": (folder / "labelling").as_posix(),
    }
    overrides = {**SMALL, **short, **places, "num_workers": 0, **overrides}
    bundle = find_bundle("fundus_dr_grading_segmentation")
    return build_workflow(bundle, ["train", "pseudo_label"], overrides, "train", "pseudo_label")


def original(data: Path) -> dict[str, dict[str, Any]]:
    """The items of both data sets, as their readers give them, by id."""
    items = [*read_layout("idrid_grading", data), *read_layout("idrid_43_11", data)]
    return {item["id"]: item for item in items}


def written(folder: Path) -> dict[str, bytes]:
    """The masks and the table of grades that networks wrote."""
    paths = (path for path in folder.rglob("*") if path.suffix in (".tif", ".csv"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def datalists(folder: Path) -> dict[str, str]:
    """The three datalists, without the folder in which they lie."""
    names = ("grading", "segmentation", "joint")
    return {name: str(load_datalist(folder / f"{name}.json")).replace(str(folder), "") for name in names}


@pytest.fixture(scope="session")
def pseudo_labelled_phantoms(idrid_phantoms, tmp_path_factory) -> Path:
    """Phantoms with masks (2 to train on, 1, 2) and with a grade (4, 1, 7), labelled by tiny networks."""
    folder = tmp_path_factory.mktemp("two_tasks")
    shutil.copytree(idrid_phantoms, folder, dirs_exist_ok=True)
    write_idrid_grading(folder, training=5, testing=7, size=(192, 256))
    run_workflow(pseudo_label(folder, folder))
    return folder


@pytest.mark.filterwarnings("ignore:.*photos for training/test")
class TestFundusDrGradingSegmentation(BundleTester):
    name = "fundus_dr_grading_segmentation"
    dataset, photos = "pseudo_labelled_phantoms", TEST_PHOTOS
    roads: ClassVar = BundleTester.roads | {
        ("train", "training_grading"): "training_grading",
        ("train", "training_segmentation"): "training_segmentation",
        ("train", "evaluate", "grad_cam"): "grad_cam",
        ("train", "pseudo_label"): "pseudo_label",
    }
    not_run: ClassVar = {("train", "training_grading"), ("train", "training_segmentation"), ("train", "pseudo_label")}
    small: ClassVar = SMALL
    short: ClassVar = {"batch_size": 3, "num_workers": 0, "learning_rate": 0.02, "max_epochs": 2}
    killed: ClassVar = {"spatial_size": [256, 256], "widths": [16, 16, 16, 16, 16], "batch_size": 1, "max_epochs": 3}
    key_metric = "mean_average_precision"
    scores: ClassVar = {"scores.csv"}
    pictures: ClassVar = {"grad_cams"}
    tables: ClassVar = {"lesions.csv", "photos.csv", "run.json"}
    predicted: ClassVar = {f"{lesion}.png" for lesion in LESIONS} | {
        "label_map.png",
        "overlay.jpg",
        "lesions.csv",
        "summary.json",
    }

    def data_overrides(self, data: Path, folder: Path) -> dict[str, Any]:
        return super().data_overrides(data, folder) | {"dataset_dir": (data / PSEUDO / "joint.json").as_posix()}

    def evaluate(self, datalist: Path, folder: Path, **overrides: Any) -> pd.DataFrame:
        """Scores of `Colours`."""
        folder.mkdir(exist_ok=True)
        torch.save({}, folder / "no_weights.pt")
        places = {"dataset_dir": str(datalist), "ckpt_path": str(folder / "no_weights.pt")}
        overrides = {**self.data_overrides(folder, folder), **places, "network_def": Colours(), **overrides}
        self.run(("train", "evaluate"), overrides)
        return pd.read_csv(folder / "output" / "scores.csv", index_col="score")

    def first_loss(self, datalist: Path, folder: Path, **overrides: Any) -> float:
        """Loss of a training's first iteration, of all photos."""
        places = {"dataset_dir": str(datalist), "batch_size": 6}
        overrides = {**self.data_overrides(folder, folder), **places, **overrides}
        workflow = build_workflow(self.bundle, ["train"], overrides, "train", "training")
        workflow.initialize()
        trainer = workflow.parser.get_parsed_content("train#trainer")
        losses = []

        def stop(engine: Any) -> None:
            losses.append(engine.state.output[0]["loss"])
            raise Stopped

        trainer.add_event_handler(Events.ITERATION_COMPLETED, stop)
        with pytest.raises(Stopped):
            trainer.run()
        return losses[0]

    def test_both_tasks_validate(self, road):
        log = pd.read_csv(road.output / "metrics.csv")
        assert log[["accuracy", "mean_average_precision"]].notna().to_numpy().all()
        best = torch.load(road.models / "checkpoint.pt", weights_only=True)["best_model"]["best"]
        mean = log[["accuracy", "mean_average_precision"]].mean(axis=1)
        assert best == pytest.approx(mean.max(), abs=1e-6)

    def test_scores_against_scikit_learn(self, pseudo_labelled_phantoms, tmp_path, capsys):
        """Of the test photos 7 have a grade and 2 others have masks; each counts in its own scores alone."""
        data = pseudo_labelled_phantoms
        table = self.evaluate(data / PSEUDO / "joint.json", tmp_path)
        assert "7 photos with a true grade, 2 with masks" in capsys.readouterr().out
        graded = [item for item in read_layout("idrid_grading", data) if item["split"] == "test"]
        grades = np.array([item["grade"] for item in graded])
        probabilities = np.stack([photo_probabilities(Path(item["image"]))[0] for item in graded])
        expected = expected_grade_scores(grades, probabilities)
        assert table["grade"].dropna().to_dict() == pytest.approx(expected, rel=1e-5)
        assert 0 < expected["accuracy"] < 1
        assert -1 < expected["kappa (quadratic)"] < 1

        photos = sorted((data / TEST_PHOTOS).iterdir())
        classes = [photo_probabilities(path)[1] for path in photos]
        for index, lesion in enumerate(LESIONS, start=1):
            truths, insides = zip(*(read_truth(path, lesion) for path in photos), strict=True)
            whole = [np.stack([enlarge(part, (192, 256)) for part in photo]) for photo in classes]
            full = expected_lesion_scores(truths, whole, insides, index)
            small = [[shrink(mask, SIZE, np.any) for mask in masks] for masks in (truths, insides)]
            reduced = expected_lesion_scores(small[0], classes, small[1], index)
            expected = {**full, **{f"{score}, reduced size": value for score, value in reduced.items()}}
            # at full size the metric's bins of 12 bits join a few more scores
            tolerances = dict.fromkeys(expected, 1e-6) | {"average precision (exact)": 1e-3}
            for score, tolerance in tolerances.items():
                assert table.loc[score, lesion] == pytest.approx(expected[score], rel=tolerance), (score, lesion)
                assert 0.001 < expected[score] < 0.999, (score, lesion)

    @pytest.mark.parametrize("split", ["validation", "test"])
    def test_what_a_network_wrote_is_no_truth(self, pseudo_labelled_phantoms, tmp_path, split):
        joint = pseudo_labelled_phantoms / PSEUDO / "joint.json"
        expected = self.evaluate(joint, tmp_path / "true", split=split)
        items = load_datalist(joint)
        masks = next(item["label"] for item in items if item["id"] == "IDRiD_01")
        save_datalist(
            [
                {**item, "label": masks, "pseudo": ["label"]}
                if "label" not in item
                else {**item, "grade": 4, "pseudo": ["grade"]}
                if "grade" not in item
                else item
                for item in items
            ],
            tmp_path / "marked.json",
        )
        found = self.evaluate(tmp_path / "marked.json", tmp_path / "marked", split=split, pseudo_weight=1.0)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        assert {"grade", *LESIONS} <= set(found)

    @pytest.mark.parametrize(("task", "truth"), [("grade", "grade"), ("segmentation", "label")])
    def test_a_task_with_nothing_but_pseudo_labels_is_not_scored(self, pseudo_labelled_phantoms, tmp_path, task, truth):
        joint = pseudo_labelled_phantoms / PSEUDO / "joint.json"
        given: dict[str, Any] = {"grade": 4, "label": {}}
        items = [{**item, truth: given[truth], "pseudo": [truth]} for item in load_datalist(joint)]
        save_datalist(items, tmp_path / "marked.json")
        for datalist, scored in ((joint, True), (tmp_path / "marked.json", False)):
            parser = merge(self.bundle.config_files("train"))
            parser.update({"dataset_dir": str(datalist), "pseudo_weight": 1.0})
            assert parser.get_parsed_content(f"validate#scores_{task}") is scored

    def test_pseudo_labels_without_weight_are_none(self, pseudo_labelled_phantoms, tmp_path):
        joint = pseudo_labelled_phantoms / PSEUDO / "joint.json"
        items = load_datalist(joint)
        assert sum("pseudo" in item for item in items) == 6
        truths = [{key: value for key, value in item.items() if key not in item.get("pseudo", ())} for item in items]
        save_datalist([{**item, "pseudo": []} for item in truths], tmp_path / "truths.json")
        expected = self.first_loss(tmp_path / "truths.json", tmp_path)
        assert self.first_loss(joint, tmp_path, pseudo_weight=0.0) == pytest.approx(expected, rel=1e-6)
        assert self.first_loss(joint, tmp_path, pseudo_weight=1.0) != pytest.approx(expected, rel=1e-3)

    def test_pseudo_labels_are_what_the_networks_say(self, pseudo_labelled_phantoms, tmp_path):
        """Read with Pillow and pandas; a stand-in's answers, recomputed."""
        data = pseudo_labelled_phantoms
        torch.save({}, tmp_path / "no_weights.pt")
        paths = {f"{name}_path": (tmp_path / "no_weights.pt").as_posix() for name in ("grader", "segmenter")}
        networks = {f"{name}#network_def": Colours() for name in ("grader", "segmenter")}
        trainers = {f"{name}#trainer": None for name in ("grader", "segmenter")}
        run_workflow(pseudo_label(data, tmp_path, **paths, **networks, **trainers))
        items = {item["id"]: item for item in load_datalist(tmp_path / PSEUDO / "joint.json")}
        before = original(data)
        assert items.keys() == before.keys()
        truths = tmp_path / PSEUDO / "B. Disease Grading/2. Groundtruths"
        (table,) = (pd.read_csv(path, index_col="Image name") for path in truths.iterdir())
        assert set(table.index) == {"IDRiD_01", "IDRiD_02"}

        files = set()
        for name, item in items.items():
            known = {key: value for key, value in before[name].items() if key != "optic_disc"}
            if item["split"] != "training":
                assert {key: value for key, value in item.items() if key != "optic_disc"} == known
                continue
            grade, classes = photo_probabilities(Path(item["image"]))
            if "label" in known:
                assert item["grade"] == grade.argmax() == table.loc[name, "Retinopathy grade"]
                assert (item["label"], item["pseudo"]) == (known["label"], ["grade"])
                continue
            assert (item["grade"], item["pseudo"]) == (known["grade"], ["label"])
            assert bool(item["label"]) == (item["grade"] > 0)
            files |= set(item["label"].values())
            if item["label"]:
                first, second = np.sort(classes, axis=0)[::-1][:2]
                sure = first - second > 1e-5
                assert sure.mean() > 0.99
                for index, lesion in enumerate(LESIONS, start=1):
                    drawn = np.zeros((192, 256), bool)
                    if lesion in item["label"]:
                        drawn = np.asarray(Image.open(item["label"][lesion])) > 0
                    trained_on = shrink(drawn, classes.shape[1:], np.max)
                    np.testing.assert_array_equal(trained_on[sure], (classes.argmax(0) == index)[sure])
        assert {str(path) for path in (tmp_path / PSEUDO).rglob("*.tif")} == files
        assert len(files) > 4

    def test_labelling_again_trains_nothing(self, pseudo_labelled_phantoms, tmp_path):
        data = pseudo_labelled_phantoms
        shutil.copytree(data / "single_task", tmp_path / "single_task")
        workflow = pseudo_label(data, tmp_path)
        workflow.initialize()
        epochs = []
        for name in ("grader", "segmenter"):
            trainer = workflow.parser.get_parsed_content(f"{name}#trainer")
            trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: epochs.append(engine.state.epoch))
        workflow.run()
        assert epochs == []
        assert written(tmp_path / PSEUDO) == written(data / PSEUDO)
        assert datalists(tmp_path / PSEUDO) == datalists(data / PSEUDO)

    def test_a_photo_that_tests_elsewhere_is_left_out(self, pseudo_labelled_phantoms, tmp_path):
        """The networks are loaded: the labels of the other photos are the same, and nothing is trained."""
        data, models = tmp_path / "data", pseudo_labelled_phantoms / "single_task"
        shutil.copytree(pseudo_labelled_phantoms, data, ignore=shutil.ignore_patterns(PSEUDO, "single_task"))
        graded = data / "B. Disease Grading/1. Original Images"
        for source, target in (
            ("IDRiD_55.jpg", "a. Training Set/IDRiD_001.jpg"),
            ("IDRiD_56.jpg", "b. Testing Set/IDRiD_002.jpg"),
        ):
            photo = Image.open(data / TEST_PHOTOS / source)
            photo.resize((224, 168)).save(graded / target, quality=80)
        paths = {f"{name}_path": (models / f"{name}.pt").as_posix() for name in ("grader", "segmenter")}
        run_workflow(pseudo_label(data, tmp_path, **paths))
        twins = pd.read_csv(tmp_path / "labelling" / "twins.csv")
        assert twins.to_dict("split")["data"] == [
            ["train_IDRiD_001", "training", "IDRiD_55", "test", True],
            ["test_IDRiD_002", "test", "IDRiD_56", "test", False],
        ]
        left = {item["id"] for item in load_datalist(tmp_path / PSEUDO / "joint.json")}
        assert left == original(data).keys() - {"train_IDRiD_001"}
        before = written(pseudo_labelled_phantoms / PSEUDO)
        expected = {name: content for name, content in before.items() if "train_IDRiD_001" not in name}
        assert written(tmp_path / PSEUDO) == expected
        assert not (tmp_path / "single_task").exists()

    def test_prediction_is_what_the_network_says(self, road):
        network = load_checkpoint(road.workflows[("inference",)].network_def, road.models / "model.pt").eval()
        table = pd.read_csv(road.prediction / "photos.csv", index_col="photo")
        columns = [f"grade_probability_{grade}" for grade in range(5)]
        assert table[columns].nunique().min() > 1
        for path in (road.data / TEST_PHOTOS).iterdir():
            photo = torch.from_numpy(shrink_photo(np.asarray(Image.open(path)))).float()
            with torch.inference_mode():
                logits = network.for_tasks("all")((photo - MEAN[:, None, None])[None] / STD[:, None, None])
            grade = logits["grade"][0].softmax(0).numpy()
            np.testing.assert_allclose(table.loc[path.stem, columns].astype(float), grade, rtol=0, atol=1e-5)
            assert table.loc[path.stem, "grade"] == grade.argmax()
            classes = logits["segmentation"][0].softmax(0).numpy()
            whole = np.stack([enlarge(part, (192, 256)) for part in classes[1:]])
            np.testing.assert_allclose(read_maps(road.prediction / path.stem), whole, rtol=0, atol=1e-4)

    def test_explained_predictions_are_the_same(self, road, tmp_path):
        weights = (road.models / "model.pt").as_posix()
        places = {"dataset_dir": (road.data / TEST_PHOTOS).as_posix(), "output_dir": tmp_path.as_posix()}
        self.run(("inference",), {**self.small, **places, "ckpt_path": weights, "explain": True})
        before, after = (
            {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            for folder in (road.prediction, tmp_path)
        )
        photos = sorted((road.data / TEST_PHOTOS).iterdir())
        assert after.keys() - before.keys() == {f"{path.stem}/grade_evidence.jpg" for path in photos}
        same = before.keys() - {"run.json"}  # which has the time of the run
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        for path in photos:
            with Image.open(path) as photo, Image.open(tmp_path / path.stem / "grade_evidence.jpg") as evidence:
                assert evidence.width >= photo.width

    def test_every_test_photo_has_its_activation_maps(self, road):
        items = load_datalist(road.data / PSEUDO / "joint.json")
        photos = {item["id"] for item in items if item["split"] == "test"}
        assert len(photos) == 9
        assert {path.name for path in (road.output / "grad_cams").iterdir()} == {f"{id_}.png" for id_ in photos}
        for path in (road.output / "grad_cams").iterdir():
            with Image.open(path) as picture:  # the photo and five layers, for two tasks
                assert picture.width >= 6 * SIZE[1]
                assert picture.height >= 2 * SIZE[0]

    def test_prediction_lies_where_the_photo_is(self, tmp_path):
        (tmp_path / "photos").mkdir()
        photos = {}
        for height, width in [(150, 221), (221, 150), (96, 96), (61, 83), (83, 33)]:
            rows, columns = np.mgrid[:height, :width]
            photo = np.stack([40 + 0.8 * rows, 220 - 0.8 * columns, 80 + 0 * rows], axis=-1).round().astype(np.uint8)
            photos[f"{height}x{width}"] = photo
            Image.fromarray(photo).save(tmp_path / "photos" / f"{height}x{width}.png")
        torch.save({}, tmp_path / "no_weights.pt")
        places = {"dataset_dir": str(tmp_path / "photos"), "output_dir": str(tmp_path)}
        overrides = {**self.small, **places, "ckpt_path": str(tmp_path / "no_weights.pt"), "spatial_size": [112, 160]}
        self.run(("inference",), {**overrides, "network_def": Shares()})
        for name, photo in photos.items():
            maps = 255 / Shares.share * read_maps(tmp_path / name).transpose(1, 2, 0)
            assert maps.shape == (*photo.shape[:2], 4)
            # half a grey level of rounding, and at most a pixel's slope where a shrunk pixel's windows are uneven
            difference = np.abs(maps[..., :3] - photo.astype(float))
            assert difference.max() < 1.5, name
            assert difference.mean() < 0.5, name
            assert not maps[..., 3].any()


def expected_grade_scores(grades: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    predicted, referable = probabilities.argmax(1), grades >= 2
    hard = np.eye(5)[predicted]
    return {
        "accuracy": metrics.accuracy_score(grades, predicted),
        "F1 (macro)": metrics.f1_score(grades, predicted, average="macro"),
        "F1 (weighted)": metrics.f1_score(grades, predicted, average="weighted"),
        "ROC AUC (one-vs-rest)": metrics.roc_auc_score(grades, probabilities, multi_class="ovr"),
        "ROC AUC (one-vs-rest, hard labels)": metrics.roc_auc_score(grades, hard, multi_class="ovr"),
        "kappa (quadratic)": metrics.cohen_kappa_score(grades, predicted, weights="quadratic"),
        "ROC AUC (referable)": metrics.roc_auc_score(referable, probabilities[:, 2:].sum(1)),
        "sensitivity (referable)": metrics.recall_score(referable, predicted >= 2),
        "specificity (referable)": metrics.recall_score(~referable, predicted < 2),
    }


def expected_lesion_scores(truths: Any, classes: Any, insides: Any, index: int) -> dict[str, float]:
    """Of the class `index`; an average precision inside of the field of view, Dice and IoU of all pixels."""
    truth, scores = pool([(t, p[index], inside) for t, p, inside in zip(truths, classes, insides, strict=True)])
    all_truth = np.concatenate([mask.ravel() for mask in truths])
    drawn = np.concatenate([(photo.argmax(0) == index).ravel() for photo in classes])
    return {
        "average precision (exact)": metrics.average_precision_score(truth, scores.round(5)),
        "Dice (pooled)": metrics.f1_score(all_truth, drawn),
        "IoU (pooled)": metrics.jaccard_score(all_truth, drawn),
    }
