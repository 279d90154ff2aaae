"""Reads EyePACS as Kaggle's "Diabetic Retinopathy Detection" gives it (88 702 graded photos)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import InputError
from .grade_tables import find_file, graded_items, read_grade_csv, warn_of_counts
from .layouts import find_folder
from .splits import VALIDATION_SHARE, stratified_split

__all__ = ["eyepacs"]

TABLES = {"train": ("trainLabels.csv",), "test": ("retinopathy_solution.csv", "testLabels.csv")}
PHOTO_COLUMN, GRADE_COLUMN = "image", "level"
PUBLISHED = {"train": 35126, "test": 53576}
EYE = re.compile(r"(.+)_(left|right)", re.IGNORECASE)


def eyepacs(root: Path | str) -> list[dict[str, Any]]:
    """List EyePACS's photos with their grades and splits.

    Of Kaggle's training patients a fifth validates, drawn by `stratified_split` from the grade of each patient's worse
    eye: both eyes of a patient are always in one split. `test` tests. Either of the folders `train` and `test` may be
    missing; other counts than 35126/53576 in those that are there give a warning.

    Args:
        root: the folder that holds `train` and `trainLabels.csv`, or `test` and its grades, which Kaggle gives apart:
            `retinopathy_solution.csv`, or `testLabels.csv`; names in any case.

    Returns:
        items as `idrid_grading` gives them, with the official file names (`10_left`) as ids.

    Raises:
        InputError: there is neither folder, a table or a photo is missing, a photo has no grade, a row of a table is
            wrong, a name is not `<patient>_left` or `<patient>_right`, or a patient is in both folders.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one that holds EyePACS's train or test")
    folders = {name: folder for name in TABLES if (folder := find_folder(root, name))}
    if not folders:
        raise InputError(f'{root}: neither "train" nor "test" is in this folder; name the one that holds EyePACS')
    found = {name: _read_set(root, name, folder) for name, folder in folders.items()}
    patients = {name: _patients(items) for name, items in found.items()}
    both = patients.get("train", {}).keys() & patients.get("test", {}).keys()
    if both:
        raise InputError(f"{root}: patient {min(both)} is in train and in test; remove the patient from one")
    present = list(found)
    counts = [len(found[name]) for name in present]
    warn_of_counts(root, "/".join(present), counts, [PUBLISHED[name] for name in present])
    held_out = stratified_split(patients.get("train", {}), VALIDATION_SHARE)
    training = found.get("train", [])
    return [
        *({**item, "split": "training"} for item in training if _patient(item) not in held_out),
        *({**item, "split": "validation"} for item in training if _patient(item) in held_out),
        *({**item, "split": "test"} for item in found.get("test", [])),
    ]


def _read_set(root: Path, name: str, folder: Path) -> list[dict[str, Any]]:
    table = find_file(root, TABLES[name])
    if table is None:
        names = " or ".join(TABLES[name])
        raise InputError(f"{root}: {names} is missing, the grades of {name}; copy it there, or move {name} elsewhere")
    return graded_items(folder, read_grade_csv(table, PHOTO_COLUMN, GRADE_COLUMN), table)


def _patients(items: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return each patient's grade: that of the worse eye."""
    worse: dict[str, int] = {}
    for item in items:
        patient = _patient(item)
        worse[patient] = max(worse.get(patient, 0), item["grade"])
    return worse


def _patient(item: dict[str, Any]) -> str:
    eye = EYE.fullmatch(item["id"])
    if eye is None:
        raise InputError(
            f"{item['image']}: the name is not <patient>_left or <patient>_right, which keeps both eyes of a patient in"
            " one split; rename the photo as in the official set"
        )
    return eye[1]
