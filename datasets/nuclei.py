"""The classes of nuclei, the networks that predict them and the results that these give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .errors import InputError

__all__ = [
    "BINARY_CLASSES",
    "CONIC_CLASSES",
    "MODELS",
    "MONUSAC_CLASSES",
    "RESULTS",
    "checked_class_names",
    "nuclei_models",
]

CONIC_CLASSES = ("background", "neutrophil", "epithelial", "lymphocyte", "plasma", "eosinophil", "connective")
"""The classes of CoNIC; the place of each is its number in `labels.npy`."""

MONUSAC_CLASSES = ("background", "epithelial", "lymphocyte", "macrophage", "neutrophil")
"""The classes of MoNuSAC; its XML names them, without the background and in any case of the letters."""

BINARY_CLASSES = ("background", "foreground")
"""The classes of the binary network: 1 is a nucleus of any class."""

MODELS = ("multi_class", "binary")
"""The networks, in the order of their channels: K of the classes, then one of nucleus or not."""

RESULTS = (*MODELS, "combined")
"""The results: that of each network, and of both."""

_SCORE_NAMES = ("mean", "foreground")  # of the tables of scores, beside the classes


def nuclei_models(names: str | Iterable[str]) -> list[str]:
    """Return the networks in the order of :data:`MODELS`, each once.

    Args:
        names: some of :data:`MODELS` in any order; a string is one name.

    Raises:
        InputError: there is no name, or one that is none of them.

    Example:
        >>> nuclei_models(["binary", "multi_class"]), nuclei_models("binary")
        (['multi_class', 'binary'], ['binary'])
    """
    given = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in given if name not in MODELS]
    if unknown or not given:
        fault = f"there is no network {unknown[0]!r}" if unknown else "no network is named"
        raise InputError(f"models: {fault}; choose {' or '.join(MODELS)}, or both.")
    return [name for name in MODELS if name in given]


def checked_class_names(names: Sequence[str]) -> list[str]:
    """Return the names of the classes as a list.

    Args:
        names: two or more names, the background first, different even without regard to case.

    Raises:
        InputError: they are a string or fewer than two, or one of them is empty, no string, there twice, or ``mean`` or
            ``foreground``, which the tables of scores have beside the classes.

    Example:
        >>> checked_class_names(CONIC_CLASSES)[:2]
        ['background', 'neutrophil']
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        fault = f"{names!r} is no list"
    elif len(names) < 2:
        fault = f"{list(names)} holds fewer than two names"
    elif wrong := [name for name in names if not isinstance(name, str) or not name.strip()]:
        fault = f"{wrong[0]!r} is no name"
    elif taken := [name for name in names if name in _SCORE_NAMES]:
        fault = f"{taken[0]!r} already names a score"
    elif twice := [name for name, count in Counter(name.casefold() for name in names).items() if count > 1]:
        fault = f"{twice[0]!r} is there twice"
    else:
        return list(names)
    raise InputError(f'class_names: {fault}; give a list of different names, ["background", "nucleus"] for example.')
