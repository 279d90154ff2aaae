"""What is written for lesions that overlap: those of OCTA images and those of one's own names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from scipy import ndimage

from tinylesions.datasets.lesions import OCTA_LESIONS
from tinylesions.transforms.lesion_colours import PALETTE
from tinylesions.transforms.lesion_table import collect_tables
from tinylesions.transforms.save_lesions import SaveLesionsd


@pytest.fixture
def octa(tmp_path):
    """A grey image, all of it imaged, and probabilities of three lesions that overlap."""
    noise = np.random.default_rng(0).integers(0, 60, (120, 200), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "7.png")
    blocks = torch.rand(1, 3, 15, 25, generator=torch.Generator().manual_seed(1))
    probabilities = torch.nn.functional.interpolate(blocks, scale_factor=8, mode="bilinear")[0]
    probabilities[:, 60, 100:102] = torch.tensor([0.5, 0.4999])
    return {"pred": MetaTensor(probabilities), "photo": str(tmp_path / "7.png"), "id": "7"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save_octa(folder: Path, lesions: tuple[str, ...] = OCTA_LESIONS) -> SaveLesionsd:
    return SaveLesionsd("pred", folder, lesions=lesions, exclusive=False, field_of_view_key=None)


@pytest.mark.parametrize("lesions", [OCTA_LESIONS, OCTA_LESIONS[:0:-1]], ids=["three", "two"])
def test_lesions_that_overlap(octa, tmp_path, lesions):
    octa["pred"] = octa["pred"][: len(lesions)]
    folder = Path(save_octa(tmp_path / "out", lesions)(octa)["output"])
    maps = [name for lesion in lesions for name in (f"{lesion}.png", f"{lesion}_mask.png")]
    assert names(folder) == sorted([*maps, "lesions.csv", "overlay.jpg", "summary.json"])
    expected = {lesion: channel >= 0.5 for lesion, channel in zip(lesions, octa["pred"].numpy(), strict=True)}
    assert np.logical_and.reduce(list(expected.values())).any()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["field_of_view_area_px"] == 120 * 200
    assert {key.removesuffix("_count") for key in summary if key.endswith("_count")} == set(lesions)
    for lesion, mask in expected.items():
        with Image.open(folder / f"{lesion}_mask.png") as image:
            assert (image.mode, image.format) == ("L", "PNG")
            np.testing.assert_array_equal(np.asarray(image), np.where(mask, 255, 0))
        _, count = ndimage.label(mask, np.ones((3, 3)))
        assert (summary[f"{lesion}_count"], summary[f"{lesion}_area_px"]) == (count, mask.sum())
    table = pd.read_csv(folder / "lesions.csv")
    assert table["lesion"].value_counts().to_dict() == {lesion: summary[f"{lesion}_count"] for lesion in lesions}


def test_probabilities_of_lesions_that_overlap(octa, tmp_path):
    folder = Path(save_octa(tmp_path)(octa)["output"])
    for lesion, probability in zip(OCTA_LESIONS, octa["pred"].numpy(), strict=True):
        with Image.open(folder / f"{lesion}.png") as image:
            assert image.mode == "I;16"
            np.testing.assert_allclose(np.asarray(image) / 65535, probability, atol=1e-5)


def test_the_overlay_shows_lesions_within_others(octa, tmp_path):
    octa["pred"] = torch.zeros(3, 120, 200)
    octa["pred"][1, 10:50, 10:190] = 1
    octa["pred"][2, 20:40, 80:120] = 1
    folder = Path(save_octa(tmp_path)(octa)["output"])
    with Image.open(folder / "overlay.jpg") as image:
        overlay = np.asarray(image).astype(int)
    for row, lesion in ((9, OCTA_LESIONS[1]), (19, OCTA_LESIONS[2])):
        assert np.abs(overlay[row, 90:110] - PALETTE[lesion]).mean() < 40


def test_overlapping_lesions_keep_inside_a_field_of_view(octa, tmp_path):
    octa["field_of_view"] = torch.zeros(1, 120, 200, dtype=torch.uint8)
    octa["field_of_view"][:, 10:100, 30:180] = 1
    octa["pred"] = torch.ones(3, 120, 200)
    save = SaveLesionsd("pred", tmp_path / "out", lesions=OCTA_LESIONS, exclusive=False)
    folder = Path(save(octa)["output"])
    for lesion in OCTA_LESIONS:
        mask = np.asarray(Image.open(folder / f"{lesion}_mask.png"))
        np.testing.assert_array_equal(mask > 0, octa["field_of_view"][0].numpy() > 0)


OWN = ("drusen", "microaneurysm", "laser-scar")


def test_lesions_of_ones_own_names(octa, tmp_path):
    folder = Path(save_octa(tmp_path / "out", OWN)(octa)["output"])
    maps = [name for lesion in OWN for name in (f"{lesion}.png", f"{lesion}_mask.png")]
    assert names(folder) == sorted([*maps, "lesions.csv", "overlay.jpg", "summary.json"])
    table = pd.read_csv(folder / "lesions.csv")
    for lesion, channel in zip(OWN, octa["pred"].numpy(), strict=True):
        assert (np.asarray(Image.open(folder / f"{lesion}_mask.png")) > 0).sum() == (channel >= 0.5).sum()
        assert (table["lesion"] == lesion).sum() == ndimage.label(channel >= 0.5, np.ones((3, 3)))[1] > 0
    with pytest.raises(ValueError, match="a label map has no drusen"):
        SaveLesionsd("pred", tmp_path, lesions=OWN)


def test_each_lesion_has_its_threshold(octa, tmp_path):
    thresholds = {"laser-scar": 0.7, "drusen": 0.2, "microaneurysm": 0.5}
    save = SaveLesionsd(
        "pred", tmp_path / "out", lesions=OWN, exclusive=False, field_of_view_key=None, thresholds=thresholds
    )
    folder = Path(save(octa)["output"])
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["thresholds"] == thresholds
    for lesion, channel in zip(OWN, octa["pred"].numpy(), strict=True):
        assert (np.asarray(Image.open(folder / f"{lesion}_mask.png")) > 0).sum() == summary[f"{lesion}_area_px"]
        assert summary[f"{lesion}_area_px"] == (channel >= np.float32(thresholds[lesion])).sum()
    _, photos = collect_tables([folder], tmp_path)
    row = pd.read_csv(photos)
    assert [column for column in row if "threshold" in column] == []
    assert row["drusen_count"].item() == summary["drusen_count"]
    plain = save_octa(tmp_path / "plain", OWN)(octa)["output"]
    assert "thresholds" not in json.loads((Path(plain) / "summary.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "thresholds",
    [{}, {"drusen": 0.5}, dict.fromkeys([*OWN, "haemorrhage"], 0.5), *(dict.fromkeys(OWN, t) for t in (0, 1, np.nan))],
)
def test_thresholds_that_do_not_fit(tmp_path, thresholds):
    with pytest.raises(ValueError, match="thresholds are one for each of the lesions"):
        SaveLesionsd("pred", tmp_path, lesions=OWN, exclusive=False, thresholds=thresholds)
    with pytest.raises(ValueError, match="thresholds are one for each"):
        SaveLesionsd("pred", tmp_path, thresholds={"haemorrhage": 0.5})  # a softmax has none
