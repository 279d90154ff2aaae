"""Writes what networks label: masks and grades in IDRiD's official form, and the datalists that join them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import atomic_path
from .datalists import save_datalist
from .errors import InputError
from .grade_tables import read_grade_csv
from .graded_idrid import GRADE_COLUMN, IDRID_GRADING, PHOTO_COLUMN, RISK_COLUMN, TABLE_OF, TABLES
from .idrid import LESION_FOLDERS, MASKS, PHOTOS, TRAINING
from .layouts import find_folder
from .lesions import LESION_CODES, LESIONS
from .masks import write_mask

__all__ = [
    "check_pseudo_root",
    "read_pseudo_grades",
    "read_pseudo_masks",
    "write_labelled_datalists",
    "write_pseudo_grades",
    "write_pseudo_masks",
]


def write_pseudo_masks(root: Path | str, photo_id: str, masks: np.ndarray) -> dict[str, str]:
    """Write the masks of a photo into `A. Segmentation`, training set; an absent lesion gets no file.

    A file of the photo that an earlier network wrote for a lesion that is now absent is removed.

    Args:
        root: folder that gets `A. Segmentation`; made if missing, and never the data set's own.
        photo_id: the photo's id, with which the names begin.
        masks: bool (4, H, W) in the order of `LESIONS`.

    Returns:
        lesion -> file of the lesions that are present: the `label` of an item.

    Raises:
        InputError: the folder holds the data set's photos, whose true masks would be replaced.
        ValueError: masks of another shape or type.
    """
    if masks.ndim != 3 or len(masks) != len(LESIONS) or masks.dtype != np.bool_:
        raise ValueError(f"masks must be bool ({len(LESIONS)}, H, W), not {masks.dtype} {masks.shape}")
    base = _without_photos(Path(root, "A. Segmentation"))
    label = {}
    for lesion, mask in zip(LESIONS, masks, strict=True):
        folder = base / MASKS / TRAINING / LESION_FOLDERS[lesion]
        path = folder / f"{photo_id}_{LESION_CODES[lesion]}.tif"
        if mask.any():
            folder.mkdir(parents=True, exist_ok=True)
            write_mask(path, mask)
            label[lesion] = str(path)
        else:
            path.unlink(missing_ok=True)
    return label


def write_pseudo_grades(root: Path | str, grades: Mapping[str, int]) -> Path:
    """Write grades as the training table of `B. Disease Grading`; the risk of macular oedema stays empty.

    Args:
        root: folder that gets `B. Disease Grading`; made if missing, and never the data set's own.
        grades: photo's id -> grade 0 to 4.

    Returns:
        the table.

    Raises:
        InputError: the folder holds the data set's photos, whose true grades would be replaced.
    """
    path = _without_photos(Path(root, IDRID_GRADING)) / TABLES / TABLE_OF[TRAINING]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)  # ends its lines with CRLF, as the official tables do
        rows.writerow((PHOTO_COLUMN, GRADE_COLUMN, RISK_COLUMN))
        rows.writerows((photo, int(grade), "") for photo, grade in grades.items())
    return path


def write_labelled_datalists(
    root: Path | str, grading: Sequence[dict[str, Any]], segmentation: Sequence[dict[str, Any]]
) -> dict[str, Path]:
    """Write `grading.json`, `segmentation.json` and `joint.json`, which holds both one after the other.

    Args:
        root: their folder; made if missing.
        grading: the graded photos, with pseudo-masks as their `label`.
        segmentation: the photos with masks, with pseudo-grades as their `grade`.

    Returns:
        "grading", "segmentation" and "joint" -> file, of the form that `load_datalist` reads.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, items in {"grading": grading, "segmentation": segmentation, "joint": [*grading, *segmentation]}.items():
        paths[name] = root / f"{name}.json"
        save_datalist(items, paths[name])
    return paths


def read_pseudo_masks(root: Path | str, photo_id: str) -> dict[str, str]:
    """Return the masks that `write_pseudo_masks` wrote for a photo: lesion -> file."""
    folder = Path(root, "A. Segmentation", MASKS, TRAINING)
    paths = {name: folder / LESION_FOLDERS[name] / f"{photo_id}_{LESION_CODES[name]}.tif" for name in LESIONS}
    return {lesion: str(path) for lesion, path in paths.items() if path.is_file()}


def read_pseudo_grades(root: Path | str, photo_ids: Sequence[str]) -> dict[str, int]:
    """Return the grades that `write_pseudo_grades` wrote for some photos.

    Raises:
        InputError: the table cannot be read, or lacks one of them.
    """
    path = Path(root, IDRID_GRADING, TABLES, TABLE_OF[TRAINING])
    grades = read_grade_csv(path, PHOTO_COLUMN, GRADE_COLUMN)
    missing = [photo for photo in photo_ids if photo not in grades]
    if missing:
        raise InputError(f"{path}: the table has no grade of {missing[0]}; write the pseudo-labels again")
    return {photo: grades[photo] for photo in photo_ids}


def check_pseudo_root(root: Path | str, items: Sequence[Mapping[str, Any]]) -> None:
    """Refuse, before any training, a folder or ids that no pseudo-labels can be written for.

    Raises:
        InputError: the folder holds a data set's photos, or an id cannot name a file.
    """
    for name in ("A. Segmentation", IDRID_GRADING):
        _without_photos(Path(root, name))
    for item in items:
        if Path(item["id"]).name != item["id"] or "\\" in item["id"]:
            raise InputError(f"{item['image']}: its id {item['id']!r} cannot name a file; rename it without slashes")


def _without_photos(base: Path) -> Path:
    if find_folder(base, PHOTOS):
        raise InputError(f"{base}: the data set's photos are here, and its true labels; choose another output folder")
    return base
