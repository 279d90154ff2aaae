"""MoNuSAC's official folders are listed with patients as sources, and gaps in them are named."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinylesions.datasets import InputError, monusac, read_tile

from .layouts import SIZE, outlines, write_monusac, write_photo

TRAINING, TESTING = "MoNuSAC_images_and_annotations", "MoNuSAC Testing Data and Annotations"
PATIENTS = {f"TCGA-5P-A9K{number}-01Z-00-DX1": 1 + number % 3 for number in range(9)}


@pytest.fixture
def root(tmp_path) -> Path:
    return write_monusac(tmp_path, PATIENTS)


def splits(items: list[dict]) -> dict[str, list[dict]]:
    return {split: [item for item in items if item["split"] == split] for split in ("training", "validation", "test")}


@pytest.mark.parametrize("below", ["", TRAINING])
def test_tiles_are_split_by_patient(root, below):
    items = monusac(str(root / below))
    assert len(items) == 18
    patients = [{item["source"] for item in split} for split in splits(items).values()]
    assert all(patients)
    assert sum(map(len, patients)) == 9
    item = next(item for item in items if item["id"] == "TCGA-5P-A9K2-01Z-00-DX1_3")
    stem = root / TRAINING / "TCGA-5P-A9K2-01Z-00-DX1" / "TCGA-5P-A9K2-01Z-00-DX1_3"
    assert (item["image"], item["label"], item["source"]) == (f"{stem}.tif", f"{stem}.xml", "TCGA-5P-A9K2")
    assert len(splits(monusac(root, "random", 0, 0.5))["test"]) == 9


def test_two_slides_of_a_patient_are_one_source(root):
    write_monusac(root, {"TCGA-5P-A9K0-01Z-00-DX2": 1, "mine": 1})
    sources = {item["id"]: item["source"] for item in monusac(root)}
    assert sources["TCGA-5P-A9K0-01Z-00-DX2_1"] == sources["TCGA-5P-A9K0-01Z-00-DX1_1"] == "TCGA-5P-A9K0"
    assert sources["mine_1"] == "mine"


@pytest.mark.parametrize("testing", [TESTING, "monusac_testing_data_and_annotations"])
def test_official_test_set_is_the_test_split(root, testing):
    write_monusac(root, {"TCGA-2Z-A9JG-01Z-00-DX1": 3}, testing)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items = monusac(root, validation_share=0.5, test_share=0.4)
    found = splits(items)
    assert {item["source"] for item in found["test"]} == {"TCGA-2Z-A9JG"}
    assert [len(split) for split in found.values()] == [9, 9, 3]
    shutil.rmtree(root / TRAINING)
    with pytest.raises(InputError, match=f"{TRAINING}: this folder is missing"):
        monusac(root)


def test_a_patient_in_both_official_sets_is_warned_of(root):
    write_monusac(root, {"TCGA-5P-A9K1-01Z-00-DX2": 1}, TESTING)
    with pytest.warns(UserWarning, match="TCGA-5P-A9K1 is a patient of the training and of the test folder"):
        monusac(root)
    write_monusac(root, {"TCGA-5P-A9K1-01Z-00-DX1": 1}, TESTING)
    with pytest.raises(InputError, match=r"TCGA-5P-A9K1-01Z-00-DX1_1\.tif has the same name"):
        monusac(root)


def test_tif_is_preferred_and_svs_is_read(root):
    folder = root / TRAINING / "TCGA-5P-A9K0-01Z-00-DX1"
    grey = np.full((*SIZE, 3), 7, np.uint8)
    for name in ("TCGA-5P-A9K0-01Z-00-DX1_1.svs", "TCGA-5P-A9K0-01Z-00-DX1_2.SVS"):
        Image.fromarray(grey).save(folder / name, format="TIFF")
    (folder / "TCGA-5P-A9K0-01Z-00-DX1_2.xml").write_text(outlines())
    (folder / "._TCGA-5P-A9K0-01Z-00-DX1_2.tif").write_text("left by macOS")
    (folder / "notes.txt").write_text("mine")
    images = {item["id"]: item["image"] for item in monusac(root)}
    assert images["TCGA-5P-A9K0-01Z-00-DX1_1"].endswith("_1.tif")
    assert (read_tile(images["TCGA-5P-A9K0-01Z-00-DX1_2"]) == grey).all()
    assert not any("._" in image or "notes" in image for image in images.values())


def test_tile_without_outlines_and_the_reverse(root):
    folder = root / TRAINING / "TCGA-5P-A9K0-01Z-00-DX1"
    extra = write_photo(folder / "x.tif")
    with pytest.raises(InputError, match=r"x\.tif: this tile has no x\.xml beside it"):
        monusac(root)
    extra.unlink()
    (folder / "x.xml").write_text(outlines())
    with pytest.raises(InputError, match=r"x\.xml: these outlines have no tile"):
        monusac(root)


def test_wrong_roots(root, tmp_path):
    with pytest.raises(InputError, match="no such folder; name the one that holds MoNuSAC"):
        monusac(root / "none")
    (tmp_path / "empty" / TRAINING).mkdir(parents=True)
    with pytest.raises(InputError, match="there is no tile in its folders; the official layout is"):
        monusac(tmp_path / "empty")
