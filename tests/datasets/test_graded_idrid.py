"""IDRiD's grading layout is read with a stratified fifth for validation."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from pathlib import Path

import pytest

from tinylesions.datasets import graded_idrid
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.graded_idrid import idrid_grading

from .layouts import write_idrid_grading

TRAINING = {number: number % 5 for number in range(1, 26)}  # five photos of each grade
TESTING = {1: 4, 2: 0, 3: 1}


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A set of 25 and 3 photos that counts as whole."""
    monkeypatch.setattr(graded_idrid, "PUBLISHED", (25, 3))
    return write_idrid_grading(tmp_path, TRAINING, TESTING)


def test_the_papers_counts():
    assert graded_idrid.PUBLISHED == (413, 103)


@pytest.mark.parametrize("below", ["", "B. Disease Grading"])
def test_items_have_grades_and_splits(root, below):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items = idrid_grading(root / below)
    assert [item["split"] for item in items] == ["training"] * 20 + ["validation"] * 5 + ["test"] * 3
    assert Counter(item["grade"] for item in items[20:25]) == {0: 1, 1: 1, 2: 1, 3: 1, 4: 1}
    assert len({item["id"] for item in items}) == 28, "both official sets number from IDRiD_001"
    assert {item["id"]: item["grade"] for item in items} == {
        **{f"train_IDRiD_{number:03}": grade for number, grade in TRAINING.items()},
        **{f"test_IDRiD_{number:03}": grade for number, grade in TESTING.items()},
    }
    assert items[-1] == {
        "id": "test_IDRiD_003",
        "image": str(root / "B. Disease Grading/1. Original Images/b. Testing Set/IDRiD_003.jpg"),
        "grade": 1,
        "split": "test",
    }


def test_part_of_the_set_gives_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="25/3 photos for training/test where the paper has 413/103") as caught:
        idrid_grading(write_idrid_grading(tmp_path, TRAINING, TESTING))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_names_may_differ_in_case(root):
    base = root / "B. Disease Grading"
    tables = base / "2. Groundtruths"
    table = tables / graded_idrid.TABLE_OF["a. Training Set"]
    shutil.move(table, tables / table.name.upper())
    shutil.move(base / "1. Original Images", base / "1. original images")
    shutil.move(base, root / "b. disease grading")
    assert len(idrid_grading(root)) == 28


def test_what_is_missing_is_named(root):
    base = root / "B. Disease Grading"
    (base / "1. Original Images/a. Training Set/IDRiD_007.jpg").unlink()
    with pytest.raises(InputError, match=r"a\. Training Set.IDRiD_007: this photo, which .* grades, is missing"):
        idrid_grading(root)
    shutil.rmtree(base / "1. Original Images")
    with pytest.raises(InputError, match=r"IDRiD_001: this photo \(the first of 25\), which .* is missing"):
        idrid_grading(root)
    (base / "2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv").unlink()
    with pytest.raises(InputError, match=r"Training Labels\.csv: this table is missing"):
        idrid_grading(root)
    shutil.rmtree(base / "2. Groundtruths")
    with pytest.raises(InputError, match=r"Groundtruths: this folder is missing; the official layout is"):
        idrid_grading(root)
    with pytest.raises(InputError, match="no such folder"):
        idrid_grading(root / "none")


def test_wrong_grade_is_named(root):
    table = root / "B. Disease Grading/2. Groundtruths/b. IDRiD_Disease Grading_Testing Labels.csv"
    table.write_bytes(table.read_bytes().replace(b"IDRiD_002,0", b"IDRiD_002,7"))
    with pytest.raises(InputError, match=r"row 3 \(IDRiD_002\) has '7'") as refusal:
        idrid_grading(root)
    assert str(table) in str(refusal.value)


def test_the_official_tables_are_read_and_their_photos_missed(real_data):
    # the folder has the tables without the photos
    with pytest.raises(InputError, match=r"IDRiD_001: this photo \(the first of 413\)"):
        idrid_grading(real_data / "idrid")
