"""Reads the table of a folder of one's own photos: which split each photo is in, and its grade."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .datalists import SPLITS
from .errors import InputError
from .grades import GRADES

__all__ = ["read_photo_table"]

COLUMNS = ("photo", "split", "grade")
HIGHEST_GRADE = len(GRADES) - 1


def read_photo_table(path: Path, photos: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Read the splits and grades of photos from a CSV with a header, as far as it has them.

    The columns are ``photo`` (a file name or its stem), ``split`` (training, validation or test) and ``grade`` (0 to 4,
    or blank), compared without case and outer blanks; only the first is required. Empty rows and other columns are
    skipped.

    Args:
        path: the CSV, in UTF-8.
        photos: id -> file of the photos, each of which has one row.

    Returns:
        id -> ``{"split": str, "grade": int}`` without what is unknown.

    Raises:
        InputError: the file cannot be read or lacks the column ``photo``, a row has no photo or a photo no row or two,
            or a split or grade is none.
    """
    ids = {name.casefold(): name for name in photos} | {photo.name.casefold(): name for name, photo in photos.items()}
    facts: dict[str, dict[str, Any]] = {}
    for number, row in _rows(path):
        where = f"{path}: row {number} ({row['photo']})"
        photo = ids.get(row["photo"].casefold())
        if photo is None:
            raise InputError(f"{where} names no photo that is there; correct it or remove the row")
        if photo in facts:
            raise InputError(f"{where} is the photo's second row; keep one of the two")
        facts[photo] = _facts(row, where)
    lacking = [photo for name, photo in photos.items() if name not in facts]
    if lacking:
        raise InputError(f"{lacking[0]}: this photo has no row in {path.name}; add one or remove the photo")
    return facts


def _facts(row: Mapping[str, str], where: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if "split" in row:
        if row["split"] not in SPLITS:
            raise InputError(f"{where} has {row['split']!r} where a split is due; write one of {', '.join(SPLITS)}")
        facts["split"] = row["split"]
    if row.get("grade"):
        if row["grade"] not in {str(grade) for grade in range(HIGHEST_GRADE + 1)}:
            raise InputError(f"{where} has {row['grade']!r} where a grade 0 to {HIGHEST_GRADE} is due; correct it")
        facts["grade"] = int(row["grade"])
    return facts


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the known columns of each row that is not empty."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise InputError(f"{path}: the table cannot be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: the table is no CSV in UTF-8 ({error}); save it so") from error
    header = [name.strip().casefold() for name in rows[0]] if rows else []
    for column in COLUMNS:
        if header.count(column) > 1 or (column == "photo" and column not in header):
            raise InputError(
                f"{path}: the first row does not name one column {column!r}; write the columns' names there, separated"
                " by commas"
            )
    for number, cells in enumerate(rows[1:], start=2):
        padded = [cell.strip() for cell in cells] + [""] * len(header)  # a row may be cut short
        if any(padded):
            yield number, {column: padded[header.index(column)] for column in COLUMNS if column in header}
