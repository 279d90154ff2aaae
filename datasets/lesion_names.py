"""Which names lesions may have: those of the papers, and names of one's own that can name results."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .lesions import ALL_LESIONS, CLASSES, LESION_CODES, LESIONS, OCTA_LESIONS
from .photo_names import RESERVED

__all__ = ["lesion_family", "lesion_of_name", "name_fault"]

_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_SPELLINGS = {
    **{code.lower(): lesion for lesion, code in LESION_CODES.items()},
    **{f"{lesion}s": lesion for lesion in LESIONS},
    "hemorrhage": "haemorrhage",
    "hemorrhages": "haemorrhage",
    "cotton_wool_spot": "soft_exudate",
    "cotton_wool_spots": "soft_exudate",
    "neovascularization": "neovascularisation",
}
"""What else the field calls a lesion; "exudates" alone could be either kind."""

_RESULTS = {"field_of_view", "grade_evidence", "label_map", "lesions", "overlay", "photo", "photos", "summary"}
_COLUMNS = {"all", "background", "foreground", "grade", "height", "id", "mean", "problem", "split", "warning", "width"}
_TAKEN = _RESULTS | _COLUMNS | {*CLASSES} - {*LESIONS}


def lesion_of_name(name: str) -> str:
    """Return the lesion that a code, a plural or an American spelling means; another name as it is.

    Example:
        >>> lesion_of_name("MA"), lesion_of_name("Hard Exudates"), lesion_of_name("drusen")
        ('microaneurysm', 'hard_exudate', 'drusen')
    """
    word = re.sub(r"[ -]", "_", name).lower()
    return word if word in ALL_LESIONS else _SPELLINGS.get(word, name)


def name_fault(name: str) -> str:
    """Return why a lesion cannot have a name, and what to do, as the end of a sentence; "" where it can.

    Names become those of files and of columns of tables: up to 40 lower-case letters (a to z), digits, ``_`` and ``-``.
    """
    if name in ALL_LESIONS:
        return ""
    meant = lesion_of_name(name)
    if meant != name:
        return f"is another word for {meant}; name it so"
    if not _PATTERN.fullmatch(name):
        return "is no name of a lesion; use up to 40 lower-case letters (a to z), digits, _ and -, not _ or - first"
    if name in _TAKEN or name.endswith("_mask") or RESERVED.match(name):
        return "is the name of something else in the results; choose another name for the lesion"
    return ""


def lesion_family(lesions: Iterable[str]) -> tuple[str, ...]:
    """Return the family that holds all the known names, and the names of one's own after it.

    The family is `LESIONS` (fundus photos, also where no name is known) or `OCTA_LESIONS`.

    Raises:
        ValueError: a name that no lesion can have, or known ones of both families.

    Example:
        >>> lesion_family(["haemorrhage", "drusen"])
        ('microaneurysm', 'haemorrhage', 'hard_exudate', 'soft_exudate', 'drusen')
    """
    names = list(lesions)
    own = tuple(dict.fromkeys(name for name in names if name not in ALL_LESIONS))
    faults = [f"; {name!r} {fault}" for name in own if (fault := name_fault(str(name)))]
    for family in (LESIONS, OCTA_LESIONS):
        if not faults and set(names) <= {*family, *own}:
            return (*family, *own)
    raise ValueError(
        f"lesions are some of {', '.join(LESIONS)}, or some of {', '.join(OCTA_LESIONS)}, or names of one's own, each"
        f" once, got {names}{''.join(faults)}"
    )
