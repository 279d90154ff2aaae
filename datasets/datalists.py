"""Keeps datalists: picks a split, writes and reads MONAI's decathlon JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .atomic import atomic_path
from .errors import InputError
from .grades import GRADES
from .lesions import ALL_LESIONS, LESIONS, OCTA_LESIONS

__all__ = ["SPLITS", "TRUTHS", "labelled_family", "load_datalist", "save_datalist", "select"]

SPLITS = ("training", "validation", "test")
"""The splits of a datalist, named as the sections of MONAI's decathlon JSON."""

TRUTHS = ("label", "grade")
"""The keys of an item that hold what is true of its photo: the masks of its lesions and the grade of retinopathy."""


def select(datalist: Sequence[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """Return the items of one split.

    Raises:
        InputError: there is none; the sentence says which splits there are.
    """
    items = [item for item in datalist if item["split"] == split]
    if not items:
        there = ", ".join(dict.fromkeys(item["split"] for item in datalist)) or "none"
        raise InputError(f"the datalist has no photo for {split!r} (it has: {there}); choose another split or root")
    return items


def labelled_family(items: Iterable[Mapping[str, Any]], lesions: Sequence[str] = ALL_LESIONS) -> tuple[str, ...]:
    """Return the family whose lesions a datalist's labels name, `LESIONS` or `OCTA_LESIONS`.

    Args:
        items: a datalist. Where it names lesions of both, the more frequent family is taken; where of none, the first.
        lesions: those that may be named (`Layout.lesions`); they hold one family or both.
    """
    named = [lesion for item in items for lesion in item.get("label", {})]
    families = [family for family in (LESIONS, OCTA_LESIONS) if set(family) <= set(lesions)]
    return max(families, key=lambda family: sum(lesion in family for lesion in named))


def save_datalist(items: Sequence[dict[str, Any]], path: Path | str) -> None:
    """Write a datalist as `{"training": [...], "validation": [...], "test": [...]}`.

    Paths are written relative to the file's folder, with `/`; absolute where there is no relative one (another drive).
    """
    path = Path(path)
    folder = path.absolute().parent

    def relative(name: str) -> str:
        try:
            return Path(os.path.relpath(name, folder)).as_posix()
        except ValueError:  # Windows: no relative path leads to another drive
            return Path(name).absolute().as_posix()

    sections: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for item in items:
        sections[item["split"]].append(
            {key: value for key, value in _map_paths(item, relative).items() if key != "split"}
        )
    with atomic_path(path) as unfinished:
        unfinished.write_text(json.dumps(sections, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_datalist(path: Path | str) -> list[dict[str, Any]]:
    """Read a datalist that `save_datalist` wrote; relative paths become absolute, from the file's folder.

    An item has a ``label`` (lesion -> mask, {} where there is no lesion), a ``grade`` (0 to 4) or both; a key that is
    absent means that it is unknown. ``pseudo``, if it is there, lists which of the two a network wrote. Where the
    lesions are those of OCTA images, an item of ``test`` may have neither: DRAC2022 hides them.

    Raises:
        InputError: the file is missing, no JSON, or not of that form.
    """
    path = Path(path)
    try:
        sections = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the datalist cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise InputError(f"{path}: the datalist is no JSON ({error}); write it anew") from error
    lists = [sections[split] for split in SPLITS if split in sections] if isinstance(sections, dict) else []
    if not lists or not all(isinstance(section, list) for section in lists):
        raise InputError(f"{path}: the datalist is not made of lists named {', '.join(SPLITS)}; write it anew")
    folder = path.absolute().parent
    items: list[dict[str, Any]] = []
    without_truth: list[tuple[str, int]] = []
    for split in SPLITS:
        for number, item in enumerate(sections.get(split, []), start=1):
            if not _is_item(item):
                raise _wrong_entry(path, split, number)
            if not any(truth in item for truth in TRUTHS):
                without_truth.append((split, number))
            absolute = _map_paths(item, lambda name: os.path.normpath(folder / name))
            items.append({**absolute, "split": split})
    may_lack_truth = ("test",) if labelled_family(items) == OCTA_LESIONS else ()
    for split, number in without_truth:
        if split not in may_lack_truth:
            raise _wrong_entry(path, split, number)
    return items


def _wrong_entry(path: Path, split: str, number: int) -> InputError:
    return InputError(
        f'{path}: entry {number} of {split} is not {{"id": ..., "image": path, "label": {{lesion: path}},'
        ' "grade": 0 to 4} with a label or a grade, or both; correct it'
    )


def _is_item(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and all(isinstance(item.get(key), str) for key in ("id", "image"))
        and isinstance(item.get("optic_disc", ""), str)
        and ("label" not in item or _is_label(item["label"]))
        and ("grade" not in item or _is_grade(item["grade"]))
        and _is_pseudo(item.get("pseudo", []))
    )


def _is_label(label: Any) -> bool:
    return isinstance(label, dict) and all(isinstance(path, str) for path in label.values())


def _is_grade(grade: Any) -> bool:
    return type(grade) is int and grade in range(len(GRADES))  # True is an int, too, but no grade


def _is_pseudo(pseudo: Any) -> bool:
    return isinstance(pseudo, list) and all(pseudo.count(truth) == 1 and truth in TRUTHS for truth in pseudo)


def _map_paths(item: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return a copy of an item with every path changed; other keys stay."""
    changed: dict[str, Any] = {key: change(item[key]) for key in ("image", "optic_disc") if key in item}
    if "label" in item:
        changed["label"] = {lesion: change(mask) for lesion, mask in item["label"].items()}
    return {**item, **changed}
