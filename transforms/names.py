"""Checks of the names that configs and datalists give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesion_names import lesion_family

__all__ = ["checked_lesions", "output_name"]


def checked_lesions(lesions: Sequence[str]) -> tuple[str, ...]:
    """Return the lesions that a network looks for: some of `LESIONS` or of `OCTA_LESIONS`, and names of one's own.

    Raises:
        ValueError: none is given, one stands there twice or cannot be the name of a lesion, or they are of both.
    """
    names = (lesions,) if isinstance(lesions, str) else tuple(lesions)
    family = lesion_family(names)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"lesions are some of {', '.join(family)}, each once, got {list(names)}")
    return names


def output_name(photo_id: object) -> str:
    """Return the name of what is written for a photo, on any system: its id.

    Raises:
        InputError: the id cannot name a file or a folder.
    """
    name = str(photo_id)
    # both kinds of path, so that a result can be copied to another system
    plain = name == PurePosixPath(name).name == PureWindowsPath(name).name
    if not name or not plain or not name.isprintable() or name.startswith(".") or name != name.strip():
        raise InputError(
            f"The photo's id {name!r} cannot name a folder: use a name without slashes, leading dots or outer spaces."
        )
    return name
