"""Reads DDR's official disease grading layout (13 673 photos, of which 12 522 can be graded)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from .ddr import SPLITS
from .errors import InputError
from .grade_tables import find_file, graded_items, read_grade_list, warn_of_counts
from .layouts import find_folder

__all__ = ["ddr_grading"]

DDR_GRADING = "DR_grading"
UNGRADABLE = 5
PUBLISHED = (6835, 2733, 4105)


def ddr_grading(root: Path | str) -> list[dict[str, Any]]:
    """List DDR's graded photos with their official splits.

    The official grade 5 marks photos that cannot be graded: they are left out, with a warning that counts them. Other
    counts than the official 6835/2733/4105 (those photos included), or a missing `valid` or `test` list, give a
    warning, too.

    Args:
        root: the folder that holds `DR_grading`, or that folder; names in any case.

    Returns:
        items as `idrid_grading` gives them, with the official file names as ids.

    Raises:
        InputError: a folder, a list or a photo of the layout is missing, a photo has no grade or a line is wrong.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one that holds DDR's {DDR_GRADING}")
    base = find_folder(root, DDR_GRADING) or root
    graded: list[dict[str, Any]] = []
    counts = []
    for split, (folder, _) in SPLITS.items():
        found = _read_split(base, folder, required=split == "training")
        graded += [{**item, "split": split} for item in found]
        counts.append(len(found))
    warn_of_counts(base, "training/validation/test", counts, PUBLISHED)
    items = [item for item in graded if item["grade"] != UNGRADABLE]
    if len(items) < len(graded):
        ungradable = len(graded) - len(items)
        have = "photo has" if ungradable == 1 else "photos have"
        warnings.warn(f"{base}: {ungradable} {have} grade 5 (cannot be graded) and stay out", stacklevel=2)
    return items


def _read_split(base: Path, folder: str, required: bool) -> list[dict[str, Any]]:
    grades = find_file(base, (f"{folder}.txt",))
    photos = find_folder(base, folder)
    if grades is None:
        if required or photos is not None:
            raise InputError(
                f'{base / folder}.txt: this list of grades is missing; the official layout is "{DDR_GRADING}/train.txt"'
            )
        return []
    return graded_items(photos or base / folder, read_grade_list(grades, highest=UNGRADABLE), grades)
