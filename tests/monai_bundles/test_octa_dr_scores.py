"""Evaluation and inference of the OCTA bundle, with stand-ins whose weights are two numbers a lesion."""

from __future__ import annotations

import shutil
from pathlib import Path

import monai.transforms
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, jaccard_score

import tinylesions.transforms.load
from tinylesions.networks import UNet

from .octa import (
    CODES,
    OCTA_LESIONS,
    SETTINGS,
    STAND_INS,
    TEST_IMAGES,
    TRAINING_IMAGES,
    Steps,
    evaluate,
    expected_maps,
    infer,
    official_masks,
    save_weights,
    sentence,
)
from .pixels import read_maps

pytestmark = pytest.mark.filterwarnings("ignore:.*training images, ")


def read_scores(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / "scores.csv", index_col="score")


def test_scores_against_scikit_learn(drac_phantoms, tmp_path, capsys):
    evaluate(drac_phantoms, tmp_path / "output", save_weights(tmp_path / "models"), {**STAND_INS, "split": "training"})
    table = read_scores(tmp_path / "output")
    images = pd.read_csv(tmp_path / "output" / "image_scores.csv", index_col=["id", "lesion"])
    assert images.index.get_level_values("id").unique().tolist() == [5, 11, 14, 17, 20, 26]
    maps = {id_: expected_maps(drac_phantoms / TRAINING_IMAGES / f"{id_}.png") for id_, _ in images.index}
    means = []
    for index, lesion in enumerate(OCTA_LESIONS):
        scored, false_positives, truths, pixels = [], [], [], []
        for id_, probabilities in maps.items():
            found = probabilities[index] >= 0.5
            truth = official_masks(drac_phantoms, str(id_)).get(lesion, np.zeros(found.shape, bool))
            truths.append(truth.ravel())
            pixels.append(probabilities[index].ravel())
            row = images.loc[(id_, lesion)]
            counts = row[["truth_px", "predicted_px", "intersection_px"]].tolist()
            assert counts == [truth.sum(), found.sum(), (truth & found).sum()]
            if truth.any():
                pair = truth.ravel(), found.ravel()
                scored.append([f1_score(*pair), jaccard_score(*pair)])
                assert row[["dice", "iou"]].tolist() == pytest.approx(scored[-1], abs=1e-9)
            else:
                false_positives.append(found.mean())
                assert row[["dice", "iou"]].isna().all()
        assert scored
        assert false_positives
        dice, iou = np.mean(scored, axis=0)
        assert 0.01 < dice < 0.99
        empty = [share == 0 for share in false_positives]
        assert 0 < sum(empty) < 4 or lesion != CODES["NV"]
        expected = {
            "Dice (DRAC2022)": dice,
            "IoU (DRAC2022)": iou,
            "Dice, empty images counted": np.mean([*(pair[0] for pair in scored), *empty]),
            "empty images with false positives": 1 - np.mean(empty),
            "false positive pixels of empty images": np.mean(false_positives),
        }
        assert table[lesion][list(expected)].to_dict() == pytest.approx(expected, abs=1e-9)
        means.append([dice, iou])
        # the steps are equal again after rounding; float32 and the metric's bins of 12 bits are not that exact
        area = average_precision_score(np.concatenate(truths), np.concatenate(pixels).round(5))
        assert table.loc["average precision (exact)", lesion] == pytest.approx(area, rel=5e-3)
    mean = table.loc[["Dice (DRAC2022)", "IoU (DRAC2022)"], "mean"].to_list()
    assert mean == pytest.approx(np.mean(means, axis=0), abs=1e-9)
    counts = "intraretinal_microvascular_abnormality 1, nonperfusion_area 1, neovascularisation 4"
    assert f"Empty images, which do not: {counts}." in capsys.readouterr().out


def test_maps_and_masks_at_the_image_s_size(drac_phantoms, tmp_path):
    infer(drac_phantoms / TEST_IMAGES, tmp_path / "out", save_weights(tmp_path / "models"))
    for path in (drac_phantoms / TEST_IMAGES).iterdir():
        expected = expected_maps(path)
        found = read_maps(tmp_path / "out" / path.stem, OCTA_LESIONS)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1 / 65535)
        for lesion, probability in zip(OCTA_LESIONS, expected, strict=True):
            mask = np.asarray(Image.open(tmp_path / "out" / path.stem / f"{lesion}_mask.png"))
            np.testing.assert_array_equal(mask == 255, probability >= 0.5)
            assert 0 < mask.mean() < 255


def test_an_image_is_loaded_and_normalised_once(drac_phantoms, tmp_path, monkeypatch):
    read, normalised = [], []
    read_photo, normalise = tinylesions.transforms.load.read_photo, monai.transforms.NormalizeIntensityd.__call__

    def spy_on_reading(path):
        read.append(Path(path).name)
        return read_photo(path)

    def spy_on_normalising(self, data):
        normalised.append(data["id"])
        return normalise(self, data)

    monkeypatch.setattr(tinylesions.transforms.load, "read_photo", spy_on_reading)
    monkeypatch.setattr(monai.transforms.NormalizeIntensityd, "__call__", spy_on_normalising)
    monkeypatch.setattr(Steps, "inputs", [])
    infer(drac_phantoms / TEST_IMAGES, tmp_path / "out", save_weights(tmp_path / "models"))
    assert read == ["8.png", "23.png"]
    assert normalised == ["8", "23"]
    assert len(Steps.inputs) == 2 * len(CODES)
    first, second = Steps.inputs[:3], Steps.inputs[3:]
    for inputs in (first, second):
        assert len({given.data_ptr() for given in inputs}) == 1, "the three networks get one tensor"
    assert not torch.equal(first[0], second[0])


def test_merged_networks_give_what_each_gives_alone(drac_phantoms, tmp_path):
    models = save_weights(tmp_path / "models")
    infer(drac_phantoms / TEST_IMAGES, tmp_path / "merged", models)
    for code, lesion in CODES.items():
        infer(drac_phantoms / TEST_IMAGES, tmp_path / code, models / f"{code}.pt")
        for image in ("8", "23"):
            folders = [tmp_path / code / image, tmp_path / "merged" / image]
            assert {path.name for path in folders[0].glob("*.png")} == {f"{lesion}.png", f"{lesion}_mask.png"}
            alone, merged = (read_maps(folder, [lesion]) for folder in folders)
            np.testing.assert_allclose(alone, merged, rtol=0, atol=1 / 65535)
            masks = [(folder / f"{lesion}_mask.png").read_bytes() for folder in folders]
            assert masks[0] == masks[1]


class TestSubmission:
    def test_it_holds_the_masks(self, drac_phantoms, tmp_path):
        models = save_weights(tmp_path / "models")
        with pytest.warns(UserWarning, match="takes 65 images of 1024 × 1024 pixels, and these are 2 of 128 × 128"):
            infer(drac_phantoms / TEST_IMAGES, tmp_path / "out", models, run_id="drac_submission")
        folder = tmp_path / "out" / "submission"
        assert {path.name for path in folder.iterdir()} == {"1.nii.gz", "2.nii.gz", "3.nii.gz"}
        assert pd.read_csv(tmp_path / "out" / "submission_order.csv").to_numpy().tolist() == [[0, 8], [1, 23]]
        for number, lesion in enumerate(OCTA_LESIONS, start=1):
            volume = np.asarray(nib.load(folder / f"{number}.nii.gz").dataobj)
            assert volume.dtype == np.uint8
            masks = [Image.open(tmp_path / "out" / image / f"{lesion}_mask.png") for image in ("8", "23")]
            # nibabel's first axis is SimpleITK's last
            np.testing.assert_array_equal(volume.T, np.stack([np.asarray(mask) // 255 for mask in masks]))
            assert set(np.unique(volume)) == {0, 1}

    def test_images_of_two_sizes_are_refused_before_the_prediction(self, drac_phantoms, tmp_path, monkeypatch):
        monkeypatch.setattr(Steps, "inputs", [])
        shutil.copytree(drac_phantoms / TEST_IMAGES, tmp_path / "images")
        Image.open(tmp_path / "images" / "23.png").crop((0, 0, 96, 64)).save(tmp_path / "images" / "23.png")
        models = save_weights(tmp_path / "models")
        with pytest.raises(RuntimeError) as raised:
            infer(tmp_path / "images", tmp_path / "out", models, run_id="drac_submission")
        assert "23.png has 96 × 64 pixels " in sentence(raised.value)
        assert not Steps.inputs
        assert not (tmp_path / "out").exists()
        infer(tmp_path / "images", tmp_path / "out", models)
        assert len(Steps.inputs) == 2 * len(CODES), "a prediction takes images of any size"


class TestCheckpoints:
    def test_a_lesion_without_one_is_left_out(self, drac_phantoms, tmp_path):
        models = save_weights(tmp_path / "models", ["IRMA", "NV"])
        words = "models has no NPA.pt: NPA is left out"
        with pytest.warns(UserWarning, match=words):
            infer(drac_phantoms / TEST_IMAGES, tmp_path / "out", models)
        with pytest.warns(UserWarning, match=words):
            evaluate(drac_phantoms, tmp_path / "some", models)
        kept = [CODES["IRMA"], CODES["NV"]]
        for image in (drac_phantoms / TEST_IMAGES).iterdir():
            folder = tmp_path / "out" / image.stem
            assert not list(folder.glob("nonperfusion*"))
            found = read_maps(folder, kept)
            np.testing.assert_allclose(found, expected_maps(image, ["IRMA", "NV"]), rtol=0, atol=1 / 65535)
        evaluate(drac_phantoms, tmp_path / "all", save_weights(tmp_path / "models"))
        some, everything = read_scores(tmp_path / "some"), read_scores(tmp_path / "all")
        assert not [column for column in some if column.startswith("nonperfusion")]
        pd.testing.assert_frame_equal(some[kept], everything[kept], rtol=5e-3)
        assert some.loc["Dice (DRAC2022)", "mean"] == pytest.approx(some.loc["Dice (DRAC2022)", kept].mean())

    @pytest.mark.parametrize("run", [infer, evaluate])
    def test_none_at_all(self, drac_phantoms, tmp_path, run):
        (tmp_path / "models").mkdir()
        with pytest.raises(RuntimeError) as raised:
            run(drac_phantoms / (TEST_IMAGES if run is infer else ""), tmp_path / "out", tmp_path / "models")
        assert "models holds no weights, none of IRMA.pt, NPA.pt, NV.pt: " in sentence(raised.value)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("run", [infer, evaluate])
    def test_a_file_that_no_lesion_is_named_by(self, drac_phantoms, tmp_path, run):
        file = save_weights(tmp_path / "models") / "NV.pt"
        file = file.rename(file.with_name("NV_checkpoint.pt"))
        with pytest.raises(RuntimeError) as raised:
            run(drac_phantoms / (TEST_IMAGES if run is infer else ""), tmp_path / "out", file)
        words = (
            "NV_checkpoint.pt does not say by its name whose weights it holds: call it one of IRMA.pt, NPA.pt, NV.pt"
        )
        assert words in sentence(raised.value)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("run", [infer, evaluate])
    @pytest.mark.parametrize(
        ("overrides", "expected"),
        [
            ({"codes": ["NV", "XX"]}, "there is no lesion 'XX' in OCTA images: choose one of IRMA, NPA, NV."),
            (
                {"architectures": dict.fromkeys(CODES, "nnunet")},
                "there is no architecture 'nnunet': choose one of steps.",
            ),
        ],
    )
    def test_a_name_that_there_is_not(self, drac_phantoms, tmp_path, run, overrides, expected):
        models = save_weights(tmp_path / "models")
        with pytest.raises(RuntimeError) as raised:
            run(
                drac_phantoms / (TEST_IMAGES if run is infer else ""),
                tmp_path / "out",
                models,
                {**STAND_INS, **overrides},
            )
        assert sentence(raised.value) == expected
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("run", [infer, evaluate])
    def test_of_another_architecture(self, drac_phantoms, tmp_path, run):
        models = save_weights(tmp_path / "models")
        torch.save(UNet(widths=(2, 4)).state_dict(), models / "NPA.pt")
        with pytest.raises(RuntimeError) as raised:
            run(drac_phantoms / (TEST_IMAGES if run is infer else ""), tmp_path / "out", models)
        assert "NPA.pt does not fit Steps: " in sentence(raised.value)
        assert not (tmp_path / "out").exists()


def test_the_truth_of_test_images_is_hidden(drac_phantoms, tmp_path):
    with pytest.raises(RuntimeError) as raised:
        evaluate(drac_phantoms, tmp_path / "out", save_weights(tmp_path / "models"), {**STAND_INS, "split": "test"})
    assert "images of 'test' have no masks to score" in sentence(raised.value)
    assert not (tmp_path / "out").exists()


def test_images_of_any_size_and_colour(drac_phantoms, tmp_path):
    """A grey image saved in colour, and one of another shape, are what they are in grey."""
    (tmp_path / "images").mkdir()
    image = Image.open(drac_phantoms / TEST_IMAGES / "8.png")
    assert image.mode == "L"
    shutil.copy(drac_phantoms / TEST_IMAGES / "8.png", tmp_path / "images" / "grey.png")
    image.convert("RGB").save(tmp_path / "images" / "colour.png")
    image.crop((0, 0, 96, 64)).save(tmp_path / "images" / "part.png")
    infer(tmp_path / "images", tmp_path / "out", save_weights(tmp_path / "models"))
    grey, colour, part = (read_maps(tmp_path / "out" / name, OCTA_LESIONS) for name in ("grey", "colour", "part"))
    np.testing.assert_array_equal(colour, grey)
    assert part.shape == (len(SETTINGS), 64, 96)
    np.testing.assert_allclose(part, expected_maps(tmp_path / "images" / "part.png"), rtol=0, atol=1 / 65535)
