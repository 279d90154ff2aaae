"""Reads tables of grades, and joins them to their photos: each photo has a grade and each grade a photo."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError
from .grades import GRADES
from .layouts import photos_by_id
from .photos import PHOTO_SUFFIXES

__all__ = ["find_file", "graded_items", "read_grade_csv", "read_grade_list", "warn_of_counts"]

HIGHEST_GRADE = len(GRADES) - 1


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the file of one of these names, whatever its case, or None.

    Raises:
        InputError: there are several.
    """
    wanted = {name.casefold() for name in names}
    files = [path for path in sorted(folder.iterdir()) if path.name.casefold() in wanted and path.is_file()]
    if len(files) > 1:
        raise InputError(f"{files[1]}: {files[0].name} holds the same; keep one of the two")
    return files[0] if files else None


def read_grade_csv(path: Path, photo_column: str, grade_column: str) -> dict[str, int]:
    """Read photo -> grade from a CSV with a header, in the file's order; empty rows and other columns are skipped.

    Column names are compared without case and outer blanks; a photo's suffix, if the table has it, is dropped.

    Raises:
        InputError: the file cannot be read, lacks a column or holds no grade, or a row names no photo, one that another
            row names, or something else than a grade 0 to 4.
    """
    rows = _csv_rows(path)
    _, header = next(rows, (1, []))
    names = [name.casefold() for name in header]
    for column in (photo_column, grade_column):
        if names.count(column.casefold()) != 1:
            raise InputError(f"{path}: the first row does not name one column {column!r}; put the official table there")
    places = [names.index(column.casefold()) for column in (photo_column, grade_column)]
    padded = ((number, [*row, *[""] * len(names)]) for number, row in rows)  # a row may be cut short
    return _grades(path, ((number, row[places[0]], row[places[1]]) for number, row in padded), HIGHEST_GRADE)


def read_grade_list(path: Path, highest: int = HIGHEST_GRADE) -> dict[str, int]:
    """Read photo -> grade from a list without header whose lines are `name.jpg grade`, in the file's order.

    Args:
        path: the list.
        highest: the highest grade that it may have.

    Raises:
        InputError: as `read_grade_csv`.
    """
    lines = enumerate(_text(path).splitlines(), start=1)
    # the name is what stands before the last blank; a lone word leaves no name
    rows = ((number, ["", *line.rsplit(maxsplit=1)][-2:]) for number, line in lines if line.strip())
    return _grades(path, ((number, name.strip(), value) for number, (name, value) in rows), highest)


def graded_items(folder: Path, grades: Mapping[str, int], table: Path) -> list[dict[str, Any]]:
    """Join the photos of a folder, in natural order, to their grades.

    Names are compared without case, as in `match_masks`.

    Args:
        folder: the photos' folder; where it is missing, so are its photos.
        grades: photo -> grade.
        table: the file that they come from, for the sentence of the error.

    Returns:
        items `{"id", "image": path, "grade": int}`.

    Raises:
        InputError: a photo is missing, or has no row in the table.
    """
    photos = photos_by_id(folder) if folder.is_dir() else {}
    by_name = {name.casefold(): grade for name, grade in grades.items()}
    there = {name.casefold() for name in photos}
    missing = [name for name in grades if name.casefold() not in there]
    if missing:
        raise InputError(
            f"{folder / missing[0]}: this photo{_first_of(missing)}, which {table.name} grades, is missing;"
            " copy what is missing into its folder"
        )
    extra = [path for name, path in photos.items() if name.casefold() not in by_name]
    if extra:
        raise InputError(
            f"{extra[0]}: this photo{_first_of(extra)} has no row in {table.name}; add its grade or remove the photo"
        )
    return [{"id": name, "image": str(photo), "grade": by_name[name.casefold()]} for name, photo in photos.items()]


def warn_of_counts(base: Path, what: str, found: Sequence[int], published: Sequence[int]) -> None:
    """Warn where a set has other numbers of photos than published."""
    if list(found) != list(published):
        counts = ["/".join(map(str, numbers)) for numbers in (found, published)]
        warnings.warn(f"{base}: {counts[0]} photos for {what} where the paper has {counts[1]}", stacklevel=3)


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(_text(path).splitlines())
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise InputError(f"{path}: row {reader.line_num} is no CSV ({error}); put the official table there") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: the grades cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the grades are no UTF-8 text ({error}); save them as CSV in UTF-8") from error


def _grades(path: Path, rows: Iterable[tuple[int, str, str]], highest: int) -> dict[str, int]:
    grades: dict[str, int] = {}
    seen: set[str] = set()
    for number, cell, value in rows:
        name = Path(cell).stem if cell.lower().endswith(PHOTO_SUFFIXES) else cell
        if not name:
            raise InputError(f"{path}: row {number} does not name a photo and its grade; correct it")
        if name.casefold() in seen:
            raise InputError(f"{path}: row {number} grades {name} a second time; keep one of the rows")
        if value not in {str(grade) for grade in range(highest + 1)}:
            raise InputError(
                f"{path}: row {number} ({name}) has {value!r} where a grade 0 to {highest} is due; correct it"
            )
        seen.add(name.casefold())
        grades[name] = int(value)
    if not grades:
        raise InputError(f"{path}: the table holds no grade; put the official one there")
    return grades


def _first_of(photos: Sequence[object]) -> str:
    return f" (the first of {len(photos)})" if len(photos) > 1 else ""
