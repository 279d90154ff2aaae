"""Gives each photo a unique name that is safe as a folder name on every system."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

__all__ = ["photo_ids"]

FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)


def photo_ids(paths: Sequence[Path | str]) -> list[str]:
    """Name each photo by its stem, and by as much more of its path as tells it from photos of the same stem.

    Where stems collide, parent folders are put in front with `_`; where that cannot help, the suffix is added; what
    still collides is numbered. Names are compared without case, as Windows and macOS compare them.

    Returns:
        one name for each path, in the same order: no two alike, none with a separator, `..`, or a character or name
        that Windows forbids.

    Example:
        >>> photo_ids(["left/eye.jpg", "right/eye.jpg", "a.b.jpg"])
        ['left_eye', 'right_eye', 'a.b']
    """
    files = [PurePath(os.path.normpath(Path(path).absolute())) for path in paths]
    names = [_safe(file.stem) for file in files]
    for group in _collisions(names):
        _tell_apart(group, files, names)
    return _numbered(names)


def _safe(name: str) -> str:
    name = FORBIDDEN.sub("_", name).rstrip(". ")  # Windows drops dots and blanks at the end
    if RESERVED.match(name):
        return f"_{name}"
    return name or "_"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _collisions(names: Sequence[str]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(_folded(name), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _tell_apart(group: list[int], files: Sequence[PurePath], names: list[str]) -> None:
    """Rename the photos of one group: the fewest parent folders that separate all that folders can separate."""

    def with_parents(depth: int) -> list[str]:
        return [_safe("_".join([*files[index].parts[1:-1][-depth:], files[index].stem])) for index in group]

    def distinct(candidates: list[str]) -> int:
        return len({_folded(candidate) for candidate in candidates})

    depths = range(1, max(len(files[index].parts) for index in group))
    parents = {0: [names[index] for index in group], **{depth: with_parents(depth) for depth in depths}}
    best = max(distinct(candidates) for candidates in parents.values())
    chosen = next(candidates for candidates in parents.values() if distinct(candidates) == best)
    copies = Counter(map(_folded, chosen))
    for index, name in zip(group, chosen, strict=True):
        suffix = files[index].suffix.lstrip(".")
        names[index] = _safe(f"{name}_{suffix}") if copies[_folded(name)] > 1 else name


def _numbered(names: list[str]) -> list[str]:
    copies = Counter(map(_folded, names))
    taken = {name for name, count in copies.items() if count == 1}
    unique = []
    for name in names:
        candidate, number = name, 1
        while copies[_folded(name)] > 1 and _folded(candidate) in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(_folded(candidate))
        unique.append(candidate)
    return unique
