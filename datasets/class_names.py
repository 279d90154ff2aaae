"""The classes that a network was trained on, in a file beside its weights."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

from .atomic import atomic_path
from .errors import InputError
from .nuclei import CONIC_CLASSES

__all__ = ["CLASSES_FILE", "load_class_names", "save_class_names"]

CLASSES_FILE = "classes.json"


def save_class_names(class_names: Sequence[str], folder: Path | str) -> None:
    """Write the names of the classes, the background first, as ``classes.json`` into the folder of the weights."""
    path = Path(folder) / CLASSES_FILE
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(list(class_names)) + "\n", encoding="utf-8")


def load_class_names(weights: Path | str) -> list[str]:
    """Read the names of the classes that weights were trained on.

    Args:
        weights: the folder of the weights, or one of the files in it.

    Returns:
        The names, the background first; CoNIC's where the folder has no ``classes.json``, with a warning if it has
        weights.

    Raises:
        InputError: the file is no list of two names or more, each once.
    """
    weights = Path(weights)
    folder = weights if weights.is_dir() else weights.parent
    path = folder / CLASSES_FILE
    if not path.is_file():
        if any(folder.glob("*.pt")):
            warnings.warn(f"{folder} has no {CLASSES_FILE}: the classes are taken to be CoNIC's", stacklevel=2)
        return list(CONIC_CLASSES)
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: copy it again from where the weights are.") from error
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not listed or len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"{path} is no list of two names or more, each once: copy it again from where the weights are."
        )
    return names
