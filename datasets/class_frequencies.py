"""Counts how frequent each class of nuclei is among the pixels, once for a data set."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .atomic import atomic_path
from .errors import InputError
from .nuclei import checked_class_names
from .nuclei_labels import read_nuclei, tile_size

__all__ = ["class_frequencies"]


def class_frequencies(
    items: Sequence[Mapping[str, Any]], class_names: Sequence[str], cache: Path | str | None = None
) -> list[float]:
    """Return the share of each class among the pixels of all items, and warn of classes without a pixel.

    Args:
        items: of a datalist of nuclei, as a rule those to train on.
        class_names: the K classes, the background first.
        cache: a JSON file that keeps the result; it is counted anew where the items, the classes, or the size or time
            of one of the files differ from those that it was counted from. None keeps nothing.

    Returns:
        K floats whose sum is 1, 0.0 for a class without a pixel.

    Raises:
        InputError: there is no item, a label that `read_nuclei` refuses, names that `checked_class_names` refuses, or
            the cache cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     image, label = f"{folder}/images.npy", f"{folder}/labels.npy"
        ...     np.save(image, np.zeros((1, 2, 4, 3), np.uint8))
        ...     np.save(label, np.array([[[[0, 0], [0, 0], [1, 2], [2, 1]]] * 2]))
        ...     item = {"id": "a", "image": image, "label": label, "index": 0}
        ...     class_frequencies([item], ("background", "lymphocyte", "epithelial"))
        [0.5, 0.25, 0.25]
    """
    if not items:
        raise InputError("there is no tile to count classes in: choose another split or data set.")
    class_names = checked_class_names(class_names)
    frequencies = _count(items, class_names) if cache is None else _count_once(items, class_names, Path(cache))
    absent = [name for name, share in zip(class_names, frequencies, strict=True) if not share]
    if absent:
        it = "it" if len(absent) == 1 else "them"
        warnings.warn(
            f"no training pixel is of {' or '.join(absent)}, which cannot be learnt so: add tiles that hold {it}, or"
            f" take {it} out of class_names (and out of the numbers of a labels.npy)",
            stacklevel=2,
        )
    return frequencies


def _count_once(items: Sequence[Mapping[str, Any]], class_names: Sequence[str], cache: Path) -> list[float]:
    digest = _digest(items, class_names)
    kept = _load(cache, digest, len(class_names))
    if kept is not None:
        return kept
    frequencies = _count(items, class_names)
    content = {"digest": digest, "class_names": list(class_names), "frequencies": frequencies}
    with atomic_path(cache) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return frequencies


def _count(items: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> list[float]:
    pixels = np.zeros(len(class_names), np.int64)
    for item in tqdm(items, desc="counting pixels of the classes", unit="tile", leave=False, delay=2):
        nuclei = read_nuclei(item["label"], class_names, tile_size(item["image"]), item.get("index"))
        pixels += np.bincount(nuclei[..., 1].ravel(), minlength=len(class_names))
    return [float(share) for share in pixels / pixels.sum()]


def _digest(items: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> str:
    # the tiles' files, too: the size of a tile decides which pixels its outlines hold
    paths = sorted({item[key] for item in items for key in ("image", "label")})
    facts = [
        list(class_names),
        [(item["id"], item["label"], item.get("index")) for item in items],
        [(path, *_state(path)) for path in paths],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _state(path: str) -> tuple[int, int]:
    try:
        state = Path(path).stat()
    except OSError as error:
        raise InputError(f"{path}: the file cannot be read ({error.strerror}); check the path") from error
    return state.st_size, state.st_mtime_ns


def _load(cache: Path, digest: str, classes: int) -> list[float] | None:
    """Return what the cache keeps of this digest, or None: what is not readable is counted anew."""
    if not cache.is_file():
        return None
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("digest") != digest:
        return None
    shares = content.get("frequencies")
    if not isinstance(shares, list) or not all(isinstance(share, float) and 0 <= share <= 1 for share in shares):
        return None
    return shares if len(shares) == classes and math.isclose(sum(shares), 1) else None
