"""DDR's grading layout is read with its own splits; what cannot be graded stays out."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from tinylesions.datasets import graded_ddr
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.graded_ddr import ddr_grading

from .layouts import write_ddr_grading, write_photo

GRADES = {"train": (0, 5, 2, 5, 4), "valid": (1, 5), "test": (3,)}


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(graded_ddr, "PUBLISHED", (5, 2, 1))
    return write_ddr_grading(tmp_path, GRADES)


def test_the_official_counts():
    assert sum(graded_ddr.PUBLISHED) == 13673


@pytest.mark.parametrize("below", ["", "DR_grading"])
def test_ungradable_photos_stay_out_with_a_warning(root, below):
    with pytest.warns(UserWarning, match=r"3 photos have grade 5 \(cannot be graded\) and stay out") as caught:
        items = ddr_grading(root / below)
    assert len(caught) == 1
    assert [(item["id"], item["grade"], item["split"]) for item in items] == [
        ("007-0005-000", 0, "training"),
        ("007-0005-002", 2, "training"),
        ("007-0005-004", 4, "training"),
        ("007-0005-000", 1, "validation"),
        ("007-0004-000", 3, "test"),
    ]
    assert items[0]["image"] == str(root / "DR_grading/train/007-0005-000.jpg")
    assert set(items[0]) == {"id", "image", "grade", "split"}


def test_gradable_whole_set_gives_no_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(graded_ddr, "PUBLISHED", (2, 0, 1))
    write_ddr_grading(tmp_path, {"train": (0, 1), "test": (4,)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(ddr_grading(tmp_path)) == 3


@pytest.mark.filterwarnings("ignore:.*cannot be graded")
def test_missing_parts(root):
    base = root / "DR_grading"
    shutil.rmtree(base / "valid")
    with pytest.raises(InputError, match=r"valid.007-0005-000: this photo \(the first of 2\), which valid.txt grades"):
        ddr_grading(root)
    (base / "valid.txt").unlink()
    with pytest.warns(UserWarning, match="5/0/1 photos for training/validation/test where the paper has 5/2/1"):
        assert len(ddr_grading(root)) == 4
    write_photo(base / "test/extra.jpg")
    with pytest.raises(InputError, match=r"extra\.jpg: this photo has no row in test\.txt"):
        ddr_grading(root)
    (base / "test.txt").unlink()
    with pytest.raises(InputError, match=r"test\.txt: this list of grades is missing"):
        ddr_grading(root)
    (base / "train.txt").write_text("007-0005-000.jpg 6\n")
    with pytest.raises(InputError, match=r"train\.txt: row 1 .* grade 0 to 5 is due"):
        ddr_grading(root)
    (base / "train.txt").unlink()
    with pytest.raises(InputError, match=r"train\.txt: this list of grades is missing"):
        ddr_grading(root)
    with pytest.raises(InputError, match="no such folder"):
        ddr_grading(root / "none")
