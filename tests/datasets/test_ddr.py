"""DDR's official layout is read with its own splits, and gaps in it are named."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from pathlib import Path

import pytest

from tinylesions.datasets import ddr
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import LESIONS
from tinylesions.datasets.masks import read_masks

from .layouts import square, write_ddr, write_grey_mask


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A set of 3/2/1 photos that counts as whole."""
    monkeypatch.setattr(ddr, "SPLITS", {"training": ("train", 3), "validation": ("valid", 2), "test": ("test", 1)})
    return write_ddr(tmp_path, {"train": 3, "valid": 2, "test": 1})


def test_the_papers_counts():
    assert [count for _, count in ddr.SPLITS.values()] == [383, 149, 225]


@pytest.mark.parametrize("below", ["", "lesion_segmentation"])
def test_whole_set_keeps_the_official_splits(root, below):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items = ddr.ddr_segmentation(root / below)
    assert Counter(item["split"] for item in items) == {"training": 3, "validation": 2, "test": 1}
    assert all(list(item["label"]) == list(LESIONS) for item in items)
    valid = next(item for item in items if item["split"] == "validation")
    assert valid["id"] == "007-0005-000"
    assert valid["image"] == str(root / "lesion_segmentation/valid/image/007-0005-000.jpg")
    assert valid["label"]["haemorrhage"] == str(
        root / "lesion_segmentation/valid/segmentation label/HE/007-0005-000.tif"
    )
    assert read_masks(valid["label"], (12, 16), allow_empty=True).sum(axis=(1, 2)).tolist() == [1, 4, 9, 0]


def test_valid_may_have_the_label_folder_of_the_others(root):
    valid = root / "lesion_segmentation/valid"
    shutil.move(valid / "segmentation label", valid / "label")
    items = ddr.ddr_segmentation(root)
    assert str(valid / "label/MA/007-0005-000.tif") in [item["label"]["microaneurysm"] for item in items]


def test_missing_split_gives_a_warning_and_missing_training_an_error(root):
    shutil.rmtree(root / "lesion_segmentation/valid")
    with pytest.warns(UserWarning, match="3/0/1 photos for training/validation/test where the paper has 3/2/1"):
        assert len(ddr.ddr_segmentation(root)) == 4
    shutil.rmtree(root / "lesion_segmentation/train")
    with pytest.raises(InputError, match=r"train: this folder is missing; the official layout is"):
        ddr.ddr_segmentation(root)


def test_missing_mask_file_gives_a_warning(root):
    (root / "lesion_segmentation/train/label/EX/007-0005-001.tif").unlink()
    with pytest.warns(UserWarning, match=r"1 photos \(first 007-0005-001\) lack a mask file"):
        items = ddr.ddr_segmentation(root)
    assert "hard_exudate" not in items[1]["label"]


def test_missing_folders_and_photos_are_named(root):
    base = root / "lesion_segmentation"
    write_grey_mask(base / "test/label/MA/007-0009-000.tif", square(2))
    with pytest.raises(InputError, match=r"007-0009-000\.tif: this mask belongs to no photo"):
        ddr.ddr_segmentation(root)
    shutil.rmtree(base / "valid/segmentation label")
    with pytest.raises(InputError, match="segmentation label: this folder is missing"):
        ddr.ddr_segmentation(root)
    shutil.rmtree(base / "train/label/SE")
    with pytest.raises(InputError, match="SE: this folder is missing"):
        ddr.ddr_segmentation(root)
    with pytest.raises(InputError, match="no such folder"):
        ddr.ddr_segmentation(root / "none")
