"""`tinylesions finetune`: trained weights learn a user's own lesions, and every score and threshold is what it says."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from monai.bundle import run as monai_run
from PIL import Image
from rich.console import Console
from sklearn.metrics import average_precision_score

from tinylesions.apps import finetune
from tinylesions.apps.finetune import run_finetuning
from tinylesions.apps.predict import predict
from tinylesions.datasets import load_training_record, record_training
from tinylesions.monai_bundles import BUNDLES, find_bundle
from tinylesions.transforms import field_of_view_mask

from .light import SIDE, WIDTHS, read_image, save_light_weights, write_own_folder
from .results import read_json

BUNDLE = find_bundle("fundus_multi_lesion_segmentation")
FAST = {"roi_size": [64, 64], "crops_per_epoch": 4, "batch_size": 2}
LESIONS = ["haemorrhage", "soft_exudate", "drusen"]


@dataclass(frozen=True)
class Finetuned:
    """What a fine-tuning left, which nobody changes."""

    photos: Path
    weights: Path
    out: Path
    table: pd.DataFrame
    text: str


def start(
    photos: Path, weights: Path, out: Path, overrides: dict[str, Any] | None = None
) -> tuple[pd.DataFrame | None, str]:
    console = Console(file=io.StringIO(), width=200)
    table = run_finetuning(
        BUNDLE, photos, out, weights=weights, epochs=1, overrides={**FAST, **(overrides or {})}, console=console
    )
    return table, console.file.getvalue()


@pytest.fixture(scope="module")
def photos(idrid_phantoms, tmp_path_factory) -> Path:
    return write_own_folder(idrid_phantoms, tmp_path_factory.mktemp("own") / "photos")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Weights that know one of the photos' lesions that validates, one that does not, and one that no photo has."""
    thresholds = {"microaneurysm": 0.2, "haemorrhage": 0.4, "soft_exudate": 0.3}
    return save_light_weights(tmp_path_factory.mktemp("weights"), list(thresholds), thresholds)


@pytest.fixture(scope="module")
def finetuned(photos, weights, tmp_path_factory) -> Finetuned:
    """A fine-tuning that is interrupted before its training and started again."""
    out = tmp_path_factory.mktemp("finetuned") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "run_workflow", press_control_c)
        with pytest.raises(KeyboardInterrupt):
            start(photos, weights, out)
    assert {path.name for path in out.iterdir()} == {"before", "finetuning.json"}
    scores = (out / "before" / "scores.csv").stat().st_mtime_ns
    table, text = start(photos, weights, out)
    assert (out / "before" / "scores.csv").stat().st_mtime_ns == scores
    assert table is not None
    return Finetuned(photos, weights, out, table, text)


def press_control_c(*_: object) -> None:
    raise KeyboardInterrupt


class TestFinetuned:
    def test_words(self, finetuned):
        lines = finetuned.text.splitlines()
        for line in (
            "2 photos for training, 1 for validation",
            "lesions that the weights know: haemorrhage, soft_exudate; new to them: drusen",
            "no mask, so that the new weights do not look for it: microaneurysm",
            "threshold of soft_exudate: 0.300, that of the weights before",
            f'tinylesions predict PHOTOS --weights "{finetuned.out / "model.pt"}" --out results',
        ):
            assert line in lines

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_scores_and_thresholds_are_those_of_what_is_predicted(self, finetuned, when, tmp_path):
        """By another config, inference.json, another library and every threshold tried."""
        weights = finetuned.weights if when == "before" else finetuned.out / "model.pt"
        path = finetuned.photos / "images" / "IDRiD_02.jpg"
        predict([path], BUNDLE, tmp_path, weights, say=lambda _: None)
        inside = field_of_view_mask(read_image(path).transpose(2, 0, 1))
        lesions = {"haemorrhage": "HE", "drusen": "drusen"}
        for lesion, folder in list(lesions.items())[: 1 if when == "before" else 2]:
            truth = read_image(finetuned.photos / "masks" / folder / "IDRiD_02.tif") > 0
            found = read_image(tmp_path / "IDRiD_02" / f"{lesion}.png") / 65535
            expected = average_precision_score(truth[inside], found[inside])
            assert finetuned.table[when][lesion] == pytest.approx(expected, abs=2e-3)
            if when == "after":
                best = max(dice(found, truth, inside, threshold) for threshold in np.unique(found[inside])[1:])
                own = dice(found, truth, inside, finetuned.table["threshold"][lesion])
                assert own == pytest.approx(best, abs=2e-3)

    def test_no_scores_where_there_are_none(self, finetuned):
        table = finetuned.table
        assert list(table.index) == LESIONS
        assert table["before"].isna().to_list() == [False, True, True]
        assert table["after"].isna().to_list() == [False, True, False]

    def test_files(self, finetuned):
        written = pd.read_csv(finetuned.out / "finetuning.csv", index_col="lesion")
        assert list(written) == ["average precision (exact) before", "average precision (exact) after", "threshold"]
        np.testing.assert_allclose(written, finetuned.table)
        record = load_training_record(finetuned.out)
        assert record["lesions"] == LESIONS
        assert record["networks"]["model"]["arguments"] == {"widths": WIDTHS, "nested": False}
        assert record["longest_side"] == SIDE
        assert record["thresholds"] == pytest.approx(finetuned.table["threshold"].to_dict())
        assert record["thresholds"]["soft_exudate"] == 0.3

    def test_settings_of_the_training(self, finetuned):
        (own,) = BUNDLE.config_files("train_light")
        recipe, settings = read_json(Path(own)), read_json(finetuned.out / "train_config.json")
        for rate in ("learning_rate", "encoder_learning_rate"):
            assert settings[rate] == recipe[rate] / 2
        assert settings["max_epochs"] == 1
        assert settings["crops_per_epoch"] == FAST["crops_per_epoch"]

    @pytest.mark.slow
    def test_monais_own_command_trains_the_same_weights(self, finetuned, tmp_path):
        settings = read_json(finetuned.out / "train_config.json")
        monai_run(
            run_id="training",
            config_file=BUNDLE.config_files("train_light"),
            logging_file=False,
            bundle_root=str(BUNDLE.root),
            dataset_dir=str(finetuned.photos),
            layout="folder",
            initial_weights=str(finetuned.weights),
            ckpt_dir=str(tmp_path),
            output_dir=str(tmp_path),
            widths=WIDTHS,
            longest_side=SIDE,
            max_epochs=1,
            learning_rate=settings["learning_rate"],
            encoder_learning_rate=settings["encoder_learning_rate"],
            **FAST,
        )
        own, plain = (torch.load(folder / "model.pt") for folder in (finetuned.out, tmp_path))
        before = torch.load(finetuned.weights)
        assert own.keys() == plain.keys()
        assert all(torch.equal(own[name], plain[name]) for name in own)
        assert any(not torch.equal(own[name], before[name]) for name in own if name.startswith("encoder."))

    def test_the_second_time_nothing_is_left_to_do(self, finetuned, monkeypatch):
        for module in (finetune, finetune.run_evaluation.__globals__):
            where = module if isinstance(module, dict) else vars(module)
            monkeypatch.setitem(where, "run_workflow", lambda *_: pytest.fail("nothing is left to run"))
        before = {path: path.read_bytes() for path in finetuned.out.rglob("*") if path.is_file()}
        table, text = start(finetuned.photos, finetuned.weights, finetuned.out)
        assert text == finetuned.text
        pd.testing.assert_frame_equal(table, finetuned.table)
        assert {path: path.read_bytes() for path in finetuned.out.rglob("*") if path.is_file()} == before


def dice(found: np.ndarray, truth: np.ndarray, inside: np.ndarray, threshold: float) -> float:
    predicted = (found >= threshold) & inside
    return 2 * (predicted & truth).sum() / (predicted.sum() + (truth & inside).sum())


def test_all_photos_for_training(photos, weights, tmp_path, monkeypatch):
    def train(workflow: object, config_copy: Path) -> None:
        record_training(config_copy.parent, "model", {}, lesions=LESIONS)

    monkeypatch.setattr(finetune, "run_workflow", train)
    monkeypatch.setattr(finetune, "run_evaluation", lambda *_: pytest.fail("there is nothing to score"))
    table, text = start(photos, weights, tmp_path, {"fold": "all"})
    assert table is None
    assert "3 photos for training, 0 for validation" in text
    assert "average precision" not in text
    assert not (tmp_path / "finetuning.csv").exists()
    stored = load_training_record(tmp_path)["thresholds"]
    assert stored == {"haemorrhage": 0.4, "soft_exudate": 0.3, "drusen": 0.5}


class TestRefused:
    @pytest.fixture
    def run(self, tinylesions, photos, weights, tmp_path, monkeypatch):
        for name in ("run_workflow", "run_evaluation"):
            monkeypatch.setattr(finetune, name, lambda *_: pytest.fail("nothing may be run"))
        monkeypatch.setenv("COLUMNS", "160")

        def run(*arguments: object, photos: Path = photos, weights: Path = weights) -> str:
            given = ("--weights", weights, "--epochs", 1, "--out", tmp_path / "out")
            answer = tinylesions("finetune", photos, *given, *arguments)
            # the bar of the check is wiped out in the line of the refusal
            return replace(answer, err=answer.err.split("\r")[-1]).problem

        yield run
        assert not (tmp_path / "out" / "training.json").exists()

    @pytest.mark.parametrize("name", [name for name in BUNDLES if name != BUNDLE.name])
    def test_other_bundles(self, run, name):
        problem = run("--bundle", name)
        assert problem == f"the weights of {name} cannot be trained further: choose --bundle {BUNDLE.name}."

    def test_no_weights(self, run, tmp_path):
        problem = run(weights=tmp_path / "no.pt")
        assert problem == f"there are no weights to start from at {tmp_path / 'no.pt'}: name a model.pt with --weights."

    def test_weights_without_a_record(self, run, weights, tmp_path):
        shutil.copy(weights, tmp_path)
        assert run(weights=tmp_path / "model.pt").startswith("there is no training.json beside")

    def test_weights_of_a_softmax(self, run, tmp_path):
        weights = save_light_weights(tmp_path, ["haemorrhage"], activation="softmax")
        assert f"{weights} looks for all lesions at once" in run(weights=weights)

    def test_weights_that_would_be_replaced(self, run, weights):
        before = weights.read_bytes()
        assert "holds the weights to start from: name another folder" in run("--out", weights.parent)
        assert weights.read_bytes() == before

    def test_a_bad_mask(self, run, photos, tmp_path):
        bad = Path(shutil.copytree(photos, tmp_path / "bad"))
        mask = bad / "masks" / "HE" / "IDRiD_01.tif"
        with Image.open(mask) as image:
            image.resize((20, 20)).save(mask)
        assert run(photos=bad) == f"{bad}: 1 photo has problems: repair the files named above before training."
        assert not (tmp_path / "out").exists()

    def test_no_photo_for_training(self, run, photos, tmp_path):
        other = Path(shutil.copytree(photos, tmp_path / "other"))
        table = other / "photos.csv"
        table.write_text(table.read_text().replace("training", "test"))
        assert run(photos=other) == f"{other}: no photo is for training: give some the split training."

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("--set", "max_epochs=3"), "--set max_epochs: --epochs is for that."),
            (("--set", "ckpt_dir=x"), "--set ckpt_dir: --out is for that."),
            (("--set", "nonsense=3"), "--set nonsense: the configs of"),
            (("--layout", "conic"), "the layout 'conic' holds nuclei"),
            (("--device", "nonsense"), "the device 'nonsense' cannot be used here: choose one of cpu"),
        ],
    )
    def test_options(self, run, tmp_path, arguments, problem):
        assert run(*arguments).startswith(problem)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ("weights", "weights to start from"),
            ("mask", "photos, masks or splits"),
            ("option", "--set"),
            ("epochs", "number of epochs"),
        ],
    )
    def test_another_fine_tuning_in_its_place(self, run, finetuned, tmp_path, change, named):
        out = Path(shutil.copytree(finetuned.out, tmp_path / "done"))
        sets = [part for id, value in FAST.items() for part in ("--set", f"{id}={value}")]
        photos, weights = finetuned.photos, finetuned.weights
        if change == "weights":
            weights = save_light_weights(tmp_path / "others", ["haemorrhage"], seed=1)
        if change == "mask":
            photos = Path(shutil.copytree(photos, tmp_path / "photos"))
            shutil.copy(photos / "masks/HE/IDRiD_03.tif", photos / "masks/HE/IDRiD_01.tif")
        more = {"option": ("--set", "averaging=0.5"), "epochs": ("--epochs", 2)}.get(change, ())
        problem = run(*sets, "--out", out, *more, photos=photos, weights=weights)
        assert problem == f"{out} holds a fine-tuning with another {named}: name another folder with --out."
