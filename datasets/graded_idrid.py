"""Reads IDRiD's official disease grading layout (516 graded photos)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import InputError
from .grade_tables import find_file, graded_items, read_grade_csv, warn_of_counts
from .idrid import PHOTOS, TESTING, TRAINING
from .layouts import find_folder, require_folder
from .splits import VALIDATION_SHARE, stratified_split

__all__ = ["IDRID_GRADING", "idrid_grading"]

IDRID_GRADING = "B. Disease Grading"
TABLES = "2. Groundtruths"
TABLE_OF = {
    TRAINING: "a. IDRiD_Disease Grading_Training Labels.csv",
    TESTING: "b. IDRiD_Disease Grading_Testing Labels.csv",
}
PHOTO_COLUMN, GRADE_COLUMN, RISK_COLUMN = "Image name", "Retinopathy grade", "Risk of macular edema"
PUBLISHED = (413, 103)


def idrid_grading(root: Path | str) -> list[dict[str, Any]]:
    """List IDRiD's graded photos with their splits.

    Of the official training photos a fifth validates, drawn by `stratified_split`: the paper says 8:2 and stratified
    by grade (003, section 4.1.1), not which photos. Other counts than 413/103 give a warning. Both official sets number
    from IDRiD_001: the ids here begin with ``train_`` and ``test_``. Numbers have nothing to do with those of
    `A. Segmentation`.

    Args:
        root: the folder that holds `B. Disease Grading`, or that folder; names in any case.

    Returns:
        items `{"id", "image": path, "grade": 0 to 4, "split": "training" | "validation" | "test"}`, sorted by split
        and id.

    Raises:
        InputError: a folder, a table or a photo of the layout is missing, a photo has no grade or a row of a table is
            wrong.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one that holds IDRiD's {IDRID_GRADING}")
    base = find_folder(root, IDRID_GRADING) or root
    training = [{**item, "id": f"train_{item['id']}"} for item in _read_set(base, TRAINING)]
    testing = [{**item, "id": f"test_{item['id']}"} for item in _read_set(base, TESTING)]
    warn_of_counts(base, "training/test", (len(training), len(testing)), PUBLISHED)
    held_out = stratified_split({item["id"]: item["grade"] for item in training}, VALIDATION_SHARE)
    return [
        *({**item, "split": "training"} for item in training if item["id"] not in held_out),
        *({**item, "split": "validation"} for item in training if item["id"] in held_out),
        *({**item, "split": "test"} for item in testing),
    ]


def _read_set(base: Path, name: str) -> list[dict[str, Any]]:
    tables = require_folder(base, (TABLES,), f"{IDRID_GRADING}/{TABLES}/{TABLE_OF[name]}")
    table = find_file(tables, (TABLE_OF[name],))
    if table is None:
        raise InputError(f"{tables / TABLE_OF[name]}: this table is missing; copy the official one there")
    photos = find_folder(base, PHOTOS) or base / PHOTOS
    folder = find_folder(photos, name) or photos / name
    return graded_items(folder, read_grade_csv(table, PHOTO_COLUMN, GRADE_COLUMN), table)
