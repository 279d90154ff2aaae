"""What networks label is written in IDRiD's form and comes back through the package's readers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tinylesions.datasets.datalists import load_datalist
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.grade_tables import read_grade_csv
from tinylesions.datasets.lesions import LESIONS
from tinylesions.datasets.masks import read_masks
from tinylesions.datasets.pseudo_labels import write_labelled_datalists, write_pseudo_grades, write_pseudo_masks

from .layouts import write_idrid, write_idrid_grading

SIZE = (20, 30)


@pytest.fixture
def masks() -> np.ndarray:
    masks = np.random.default_rng(0).random((4, *SIZE)) > 0.8
    masks[2] = False
    return masks


def test_masks_come_back_and_absent_lesions_have_no_file(tmp_path, masks):
    label = write_pseudo_masks(tmp_path, "train_IDRiD_007", masks)
    truths = tmp_path / "A. Segmentation/2. All Segmentation Groundtruths/a. Training Set"
    assert label == {
        "microaneurysm": str(truths / "1. Microaneurysms/train_IDRiD_007_MA.tif"),
        "haemorrhage": str(truths / "2. Haemorrhages/train_IDRiD_007_HE.tif"),
        "soft_exudate": str(truths / "4. Soft Exudates/train_IDRiD_007_SE.tif"),
    }
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(map(Path, label.values()))
    np.testing.assert_array_equal(read_masks(label, SIZE), masks)
    with Image.open(label["haemorrhage"]) as image:
        assert (image.format, image.mode, image.getpalette()[:6]) == ("TIFF", "P", [0, 0, 0, 255, 0, 0])


def test_written_again_the_older_masks_are_gone(tmp_path, masks):
    write_pseudo_masks(tmp_path, "eye", masks)
    label = write_pseudo_masks(tmp_path, "eye", masks[[2, 0, 1, 3]])
    assert "microaneurysm" not in label
    assert {path.name for path in tmp_path.rglob("*.tif")} == {"eye_HE.tif", "eye_EX.tif", "eye_SE.tif"}
    np.testing.assert_array_equal(read_masks(label, SIZE), masks[[2, 0, 1, 3]])


def test_a_failing_disk_leaves_no_part_of_a_mask(tmp_path, masks, monkeypatch):
    write_pseudo_masks(tmp_path, "eye", masks)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.tif")}

    def save(self, path, **_):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(InputError, match="disk full"):
        write_pseudo_masks(tmp_path, "eye", ~masks)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("wrong", [np.zeros((4, 3, 3)), np.zeros((5, 3, 3), bool), np.zeros((3, 3), bool)])
def test_wrong_masks(tmp_path, wrong):
    with pytest.raises(ValueError, match="masks must be bool"):
        write_pseudo_masks(tmp_path, "eye", wrong)


def test_grades_come_back(tmp_path):
    grades = {"IDRiD_01": 3, "IDRiD_02": np.int64(0)}
    path = write_pseudo_grades(tmp_path, grades)
    assert path == tmp_path / ("B. Disease Grading/2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv")
    assert read_grade_csv(path, "Image name", "Retinopathy grade") == {"IDRiD_01": 3, "IDRiD_02": 0}
    table = pd.read_csv(path)
    assert list(table.columns) == ["Image name", "Retinopathy grade", "Risk of macular edema"]
    assert table["Risk of macular edema"].isna().all()
    assert path.read_bytes().count(b"\r\n") == 3
    assert list(path.parent.iterdir()) == [path]


def test_a_data_sets_own_labels_are_not_replaced(tmp_path, masks):
    write_idrid(tmp_path, (1,))
    write_idrid_grading(tmp_path, {1: 0}, {1: 0})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="choose another output folder"):
        write_pseudo_masks(tmp_path, "IDRiD_01", masks)
    with pytest.raises(InputError, match="choose another output folder"):
        write_pseudo_grades(tmp_path, {"IDRiD_001": 4})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_datalists_come_back(tmp_path, masks):
    image = str(tmp_path / "photos/eye.jpg")
    grading = [
        {"id": f"d{n}", "image": image, "split": split, "grade": n, "label": label, "pseudo": ["label"]}
        for n, (split, label) in enumerate([("training", {}), ("test", write_pseudo_masks(tmp_path, "d1", masks))])
    ]
    segmentation = [
        {"id": "s", "image": image, "split": "training", "label": {LESIONS[1]: image}, "grade": 2, "pseudo": ["grade"]}
    ]
    paths = write_labelled_datalists(tmp_path / "lists", grading, segmentation)
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in paths.items()} == {
        "grading": "lists/grading.json",
        "segmentation": "lists/segmentation.json",
        "joint": "lists/joint.json",
    }
    assert load_datalist(paths["grading"]) == grading
    assert load_datalist(paths["segmentation"]) == segmentation
    assert load_datalist(paths["joint"]) == [grading[0], segmentation[0], grading[1]]
    assert json.loads(paths["joint"].read_text())["training"][1]["image"] == "../photos/eye.jpg"
