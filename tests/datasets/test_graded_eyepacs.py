"""EyePACS is read from Kaggle's folders; both eyes of a patient stay in one split."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter

import numpy as np
import pytest

from tinylesions.datasets import graded_eyepacs
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.graded_eyepacs import eyepacs

from .layouts import write_eyepacs, write_photo

pytestmark = pytest.mark.filterwarnings("ignore:.*where the paper has")


def eyes(patients: range, seed: int = 0) -> dict[str, int]:
    """The worse eye's grade goes round; left or right is the worse one."""
    rng = np.random.default_rng(seed)
    grades = {}
    for patient in patients:
        worse = patient % 5
        pair = rng.permutation([worse, int(rng.integers(worse + 1))])
        grades |= {f"{patient}_left": int(pair[0]), f"{patient}_right": int(pair[1])}
    return grades


def patient(item: dict) -> str:
    return item["id"].split("_")[0]


def test_patients_are_never_torn_and_stratified_by_the_worse_eye(tmp_path):
    train, test = eyes(range(10, 60)), eyes(range(60, 63))
    items = eyepacs(write_eyepacs(tmp_path, train, test))
    assert {item["id"]: item["grade"] for item in items} == {**train, **test}
    splits = {split: [item for item in items if item["split"] == split] for split in ("training", "validation", "test")}
    assert [len(found) for found in splits.values()] == [80, 20, 6]
    by_split = [{patient(item) for item in found} for found in splits.values()]
    assert not by_split[0] & by_split[1]
    worse = Counter(max(grade for name, grade in train.items() if name.startswith(f"{p}_")) for p in by_split[1])
    assert worse == dict.fromkeys(range(5), 2)
    assert next(item for item in items if item["id"] == "60_left") == {
        "id": "60_left",
        "image": str(tmp_path / "test/60_left.jpeg"),
        "grade": test["60_left"],
        "split": "test",
    }


def test_the_order_of_the_table_plays_no_part(tmp_path):
    train = eyes(range(10, 40))
    one = eyepacs(write_eyepacs(tmp_path / "one", train, {}))
    other = eyepacs(write_eyepacs(tmp_path / "other", dict(reversed(train.items())), {}))
    assert [(item["id"], item["split"]) for item in one] == [(item["id"], item["split"]) for item in other]


@pytest.mark.parametrize("table", ["retinopathy_solution.csv", "testLabels.csv"])
def test_one_folder_is_enough(tmp_path, monkeypatch, table):
    monkeypatch.setattr(graded_eyepacs, "PUBLISHED", {"train": 4, "test": 2})
    root = write_eyepacs(tmp_path, eyes(range(10, 12)), eyes(range(1, 2)))
    shutil.move(root / "retinopathy_solution.csv", root / "renamed.csv")
    shutil.move(root / "renamed.csv", root / table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is there is whole
        assert len(eyepacs(root)) == 6
        shutil.move(root / "train", root / "elsewhere")
        assert {item["split"] for item in eyepacs(root)} == {"test"}
        shutil.move(root / "elsewhere", root / "train")
        shutil.rmtree(root / "test")
        assert {item["split"] for item in eyepacs(root)} == {"training", "validation"}


def test_the_papers_counts(tmp_path):
    root = write_eyepacs(tmp_path, eyes(range(2)), eyes(range(2, 5)))
    with pytest.warns(UserWarning, match="4/6 photos for train/test where the paper has 35126/53576"):
        eyepacs(root)
    shutil.rmtree(root / "train")
    with pytest.warns(UserWarning, match="6 photos for test where the paper has 53576"):
        eyepacs(root)


def test_bad_input(tmp_path):
    root = write_eyepacs(tmp_path, eyes(range(10, 14)), eyes(range(1, 3)))
    (root / "testLabels.csv").write_text("image,level\n")
    with pytest.raises(InputError, match=r"testLabels\.csv: retinopathy_solution\.csv holds the same; keep one"):
        eyepacs(root)
    (root / "testLabels.csv").unlink()
    (root / "test/2_left.jpeg").unlink()
    with pytest.raises(InputError, match=r"2_left: this photo, which retinopathy_solution.csv grades, is missing"):
        eyepacs(root)
    (root / "retinopathy_solution.csv").unlink()
    with pytest.raises(InputError, match=r"retinopathy_solution.csv or testLabels.csv is missing, the grades of test"):
        eyepacs(root)
    write_eyepacs(root, {}, {"2_left": 0, "1_left": 0, "1_right": 0, "2_right": 1, "13_left": 1})
    with pytest.raises(InputError, match="patient 13 is in train and in test"):
        eyepacs(root)
    shutil.rmtree(root / "test")
    write_photo(root / "train/cat.jpeg")
    with pytest.raises(InputError, match=r"cat\.jpeg: this photo has no row in trainLabels\.csv"):
        eyepacs(root)
    with (root / "trainLabels.csv").open("a") as table:
        table.write("cat,0\n")
    with pytest.raises(InputError, match=r"cat\.jpeg: the name is not <patient>_left or <patient>_right"):
        eyepacs(root)
    with pytest.raises(InputError, match='neither "train" nor "test" is in this folder'):
        eyepacs(root / "train")
    with pytest.raises(InputError, match="no such folder"):
        eyepacs(root / "none")
