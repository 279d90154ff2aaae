"""Checks a datalist before training: every photo and mask is decoded, every grade looked at, every problem named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .datalists import labelled_family
from .errors import InputError
from .grades import GRADES
from .lesions import ALL_LESIONS
from .masks import check_lesion, read_mask
from .photos import photo_size, read_photo

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CheckReport", "CheckRow", "check_datalist", "iter_check"]


@dataclass(frozen=True)
class CheckRow:
    """What was found of one photo.

    Args:
        id: the photo's id.
        split: "training", "validation" or "test".
        height: of the upright photo in pixels; 0 where its header cannot be read.
        width: likewise.
        pixels: lesion -> number of its pixels, for all lesions of the check; 0 for an absent lesion or a refused mask.
            Empty where the masks are unknown.
        grade: of diabetic retinopathy, 0 to 4; None where it is unknown or no grade.
        problem: what must be repaired, a sentence for each file; "" where all is well.
        warning: what is allowed but rare; "" as a rule.
    """

    id: str
    split: str
    height: int
    width: int
    pixels: Mapping[str, int]
    grade: int | None = None
    problem: str = ""
    warning: str = ""


@dataclass(frozen=True)
class CheckReport:
    """The rows of a check, in the order of the datalist."""

    rows: tuple[CheckRow, ...]

    @property
    def problems(self) -> list[str]:
        """The problems of all photos."""
        return [row.problem for row in self.rows if row.problem]

    @property
    def warnings(self) -> list[str]:
        """The warnings of all photos."""
        return [row.warning for row in self.rows if row.warning]

    @property
    def lesions(self) -> tuple[str, ...]:
        """Those of the check, `LESIONS` for example, or none where no photo has known masks."""
        return next((tuple(row.pixels) for row in self.rows if row.pixels), ())

    @property
    def totals(self) -> dict[str, int]:
        """Lesion -> number of its pixels in all photos."""
        return {lesion: sum(row.pixels.get(lesion, 0) for row in self.rows) for lesion in self.lesions}

    @property
    def marked(self) -> dict[str, dict[str, int]]:
        """Split -> lesion -> number of the split's photos that show it; no split of unknown masks only."""
        known = [row for row in self.rows if row.pixels]
        return {
            split: {
                lesion: sum(row.split == split and row.pixels[lesion] > 0 for row in known) for lesion in self.lesions
            }
            for split in dict.fromkeys(row.split for row in known)
        }

    @property
    def graded(self) -> dict[int, int]:
        """Grade -> number of its photos, for all grades; empty where no photo has a known grade."""
        counts = Counter(row.grade for row in self.rows if row.grade is not None)
        return {grade: counts[grade] for grade in range(len(GRADES))} if counts else {}

    def to_frame(self) -> pd.DataFrame:
        """Return a frame of one row a photo: id, split, height, width, pixels of each lesion, grade, problem, warning.

        There are no columns of lesions, or of the grade, where no photo has them known; a single unknown value is NA.
        """
        import pandas as pd

        truths = [*self.lesions, *(["grade"] if self.graded else [])]
        columns = ["id", "split", "height", "width", *truths, "problem", "warning"]
        frame = pd.DataFrame([{**vars(row), **row.pixels} for row in self.rows], columns=columns)
        return frame.astype(dict.fromkeys(truths, "Int64"))


def check_datalist(
    items: Iterable[Mapping[str, Any]], allow_empty: bool = False, lesions: Sequence[str] = ALL_LESIONS
) -> CheckReport:
    """Decode every photo and mask of a datalist and report what is wrong; nothing is raised for a bad file.

    Args:
        items: a datalist, as a reader of `LAYOUTS` gives it.
        allow_empty: accept all-black masks (DDR), see `read_mask`.
        lesions: those that may be named, see `Layout.lesions`; where they are `ALL_LESIONS`, the datalist is of the
            family that it names.
    """
    return CheckReport(tuple(iter_check(items, allow_empty, lesions)))


def iter_check(
    items: Iterable[Mapping[str, Any]], allow_empty: bool = False, lesions: Sequence[str] = ALL_LESIONS
) -> Iterator[CheckRow]:
    """Yield the row of each photo as soon as it is checked; `check_datalist` collects them."""
    items = list(items)
    family = labelled_family(items, lesions) if set(ALL_LESIONS) <= set(lesions) else tuple(lesions)
    for item in items:
        yield _check_item(item, allow_empty, family)


def _check_item(item: Mapping[str, Any], allow_empty: bool, family: Sequence[str]) -> CheckRow:
    problems = []
    size = None
    try:
        size = photo_size(item["image"])
        read_photo(item["image"])  # only decoding shows a truncated file
    except InputError as error:
        problems.append(str(error))
    pixels = dict.fromkeys(family, 0) if "label" in item else {}
    for lesion, path in item.get("label", {}).items():
        count, problem = _count_pixels(lesion, path, size, allow_empty, family)
        if problem:
            problems.append(problem)
        else:
            pixels[lesion] = count
    grade = item.get("grade")
    if grade is not None and grade not in range(len(GRADES)):
        problems.append(f"{item['image']}: {grade!r} is no grade; give 0 to {len(GRADES) - 1}")
        grade = None
    height, width = size or (0, 0)
    warning = ""
    if not problems and pixels and not any(pixels.values()) and grade != 0:
        counts = "it counts as healthy" if grade is None else f"its grade is {grade}"
        warning = f"{item['image']}: no lesion is marked in this photo; {counts}"
    return CheckRow(item["id"], item["split"], height, width, pixels, grade, ". ".join(problems), warning)


def _count_pixels(
    lesion: str, path: str, size: tuple[int, int] | None, allow_empty: bool, family: Sequence[str]
) -> tuple[int, str]:
    """Return the number of a mask's pixels and "", or 0 and what is wrong."""
    try:
        check_lesion(lesion, path, family)
        return int(read_mask(path, size, allow_empty).sum()), ""
    except InputError as error:
        return 0, str(error)
