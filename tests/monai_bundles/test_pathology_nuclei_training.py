"""What trainings of the nuclei bundle read, and where they leave what."""

from __future__ import annotations

import datetime
import shutil

import numpy as np
import pandas as pd
import pytest
from monai.bundle import ConfigWorkflow
from PIL import Image
from skimage.transform import resize

from tinylesions.apps.workflows import run_workflow

from .configs import read_json
from .nuclei import (
    BUNDLE,
    CLASSES,
    MODELS,
    SHORT,
    SPLITS,
    STAND_INS,
    build,
    conic_arrays,
    outlined,
    own,
    training,
)

pytestmark = pytest.mark.filterwarnings("ignore:no training pixel is of")


class TestTiles:
    @pytest.mark.parametrize("model", MODELS)
    @pytest.mark.parametrize("part", ["train", "validate"])
    def test_of_conic(self, conic_phantoms, tmp_path, model, part):
        images, truth = conic_arrays(conic_phantoms)
        parser = build(conic_phantoms, tmp_path, {"model": model, "roi_size": [64, 64]})
        items = list(parser.get_parsed_content(f"{part}#dataset"))
        assert [item["index"] for item in items] == SPLITS["training" if part == "train" else "validation"]
        for item in items:
            expected = images[item["index"]].transpose(2, 0, 1) / 255
            np.testing.assert_allclose(item["image"].numpy(), expected, rtol=0, atol=1e-6)
            classes = truth[item["index"]] if model == "multi_class" else truth[item["index"]] > 0
            np.testing.assert_array_equal(item["label"].numpy(), classes[None])

    def test_of_monusac_are_stretched(self, monusac_phantoms, tmp_path):
        parser = build(monusac_phantoms, tmp_path, {"spatial_size": [64, 72], "roi_size": [64, 72]}, "monusac")
        items = list(parser.get_parsed_content("train#dataset"))
        assert len(items) == 3
        folder = monusac_phantoms / "MoNuSAC_images_and_annotations"
        for item in items:
            (path,) = folder.glob(f"*/{item['id']}.tif")
            tile = np.asarray(Image.open(path))
            expected = resize(tile, (64, 72), order=1, anti_aliasing=True)
            assert abs(item["image"].numpy().transpose(1, 2, 0) - expected).mean() < 0.005
            rows, columns = ((np.arange(new) + 0.5) * old // new for new, old in ((64, 80), (72, 112)))
            nearest = outlined(path, (80, 112))[rows.astype(int)][:, columns.astype(int)]
            np.testing.assert_array_equal(item["label"][0].numpy(), nearest)

    def test_they_are_mirrored_and_turned_with_their_classes(self, conic_phantoms, tmp_path):
        chosen = {"augmentation_prob": 0.5, "model": "multi_class", "roi_size": [64, 64]}
        dataset = build(conic_phantoms, tmp_path, chosen).get_parsed_content("train#dataset")
        dataset.transform.set_random_state(2)
        images, truth = (array[SPLITS["training"][0]] for array in conic_arrays(conic_phantoms))
        positions = {}
        for turns in range(4):
            for mirrored in (False, True):
                image, classes = (np.rot90(array[:, ::-1] if mirrored else array, turns) for array in (images, truth))
                positions[image.tobytes()] = classes.tobytes()
        assert len(positions) == 8
        seen = set()
        for _ in range(60):
            item = dataset[0]
            image = np.ascontiguousarray((item["image"] * 255).round().numpy().astype(np.uint8).transpose(1, 2, 0))
            assert item["label"][0].numpy().astype(truth.dtype).tobytes() == positions[image.tobytes()]
            seen.add(image.tobytes())
        assert len(seen) == 8


class TestRunFolder:
    def test_both_networks_of_a_training_are_in_one(self, conic_phantoms, tmp_path, monkeypatch):
        """Below the bundle, named by the time at which the training began, though the second starts later."""

        class Clock(datetime.datetime):
            seconds = 0

            @classmethod
            def now(cls, tz=None):
                Clock.seconds += 1
                return cls(2031, 5, 4, 3, 2, Clock.seconds, tzinfo=tz)

        monkeypatch.setattr(datetime, "datetime", Clock)
        shutil.copytree(conic_phantoms, tmp_path / "data" / "CoNIC")
        workflow = ConfigWorkflow(
            config_file=BUNDLE.config_files("train"),
            workflow_type="train",
            run_id="training",
            logging_file=False,
            bundle_root=tmp_path.as_posix(),
            **own(STAND_INS),
            **SHORT,
        )
        run_workflow(workflow)
        assert {path.name for path in tmp_path.iterdir()} == {"data", "runs"}
        (folder,) = (tmp_path / "runs").iterdir()
        assert folder.name == "2031-05-04_03-02-01"
        assert {path.name for path in folder.iterdir()} == {"models", "class_frequencies.json", *MODELS}
        assert {path.name for path in (folder / "models").glob("*.pt")} == {
            f"{model}{kind}.pt" for model in MODELS for kind in ("", "_checkpoint")
        }
        for model in MODELS:
            assert read_json(folder / model / "run.json")["settings"]["model"] == model
            assert (folder / model / "metrics.csv").is_file()

    def test_a_second_training_has_its_own(self, conic_phantoms, tmp_path):
        """Whoever names a folder goes on in it, or adds the other network."""
        folder = (tmp_path / "named").as_posix()
        chosen = {**own(STAND_INS), **SHORT, "run_dir": folder, "dataset_dir": conic_phantoms.as_posix()}
        for run_id, models in (("training_binary", ["binary"]), ("training_multi", list(MODELS))):
            workflow = ConfigWorkflow(
                config_file=BUNDLE.config_files("train"),
                workflow_type="train",
                run_id=run_id,
                logging_file=False,
                bundle_root=tmp_path.as_posix(),
                **chosen,
            )
            run_workflow(workflow)
            weights = (tmp_path / "named" / "models").glob("*.pt")
            assert sorted(path.stem for path in weights if "checkpoint" not in path.stem) == sorted(models)
        assert {path.name for path in tmp_path.iterdir()} == {"named"}


@pytest.mark.parametrize("model", MODELS)
def test_hard_pixels_are_counted_each_epoch(conic_phantoms, tmp_path, model):
    chosen = {f"losses#{model}": ["dice", "online_bootstrapping"], "hard_pixels": 37, "batch_size": 3}
    run_workflow(training(conic_phantoms, tmp_path, {**STAND_INS, **chosen, "model": model}, "run"))
    table = pd.read_csv(tmp_path / "output" / model / "hard_pixels.csv")
    names = CLASSES if model == "multi_class" else ("background", "foreground")
    assert list(table) == ["epoch", *(f"{name}_pixels" for name in names), *(f"{name}_share" for name in names)]
    assert table["epoch"].tolist() == [1, 2]
    pixels = table[[f"{name}_pixels" for name in names]]
    assert pixels.sum(axis=1).tolist() == [37 * len(SPLITS["training"])] * 2
    shares = table[[f"{name}_share" for name in names]].to_numpy()
    np.testing.assert_allclose(shares, pixels.to_numpy() / (37 * len(SPLITS["training"])), atol=1e-9)
    truth = conic_arrays(conic_phantoms)[1][SPLITS["training"]]
    absent = [name for number, name in enumerate(CLASSES) if not (truth == number).any()]
    assert absent
    if model == "multi_class":
        assert not pixels[[f"{name}_pixels" for name in absent]].to_numpy().any()


def test_class_weights_of_all_schemes_are_written(conic_phantoms, tmp_path, capsys):
    workflow = training(conic_phantoms, tmp_path, STAND_INS, "class_weights_table")
    run_workflow(workflow)
    table = pd.read_csv(tmp_path / "output" / "class_weights.csv", index_col="score")
    assert list(table) == list(CLASSES)
    assert list(table.index) == ["frequency", *(f"scheme {number}" for number in range(1, 7))]
    truth = conic_arrays(conic_phantoms)[1][SPLITS["training"]]
    shares = np.bincount(truth.ravel(), minlength=len(CLASSES)) / truth.size
    np.testing.assert_allclose(table.loc["frequency"], shares, atol=1e-9)
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-9)
    falling = np.exp(-np.e * shares)
    np.testing.assert_allclose(table.loc["scheme 4"], falling / falling.sum(), atol=1e-9)
    assert "scheme 6" in capsys.readouterr().out
