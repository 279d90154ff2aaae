"""The thresholds of trained weights, kept in the record beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .atomic import atomic_path
from .errors import InputError
from .file_hash import file_sha256
from .training_record import SHA256, TRAINING_RECORD, load_training_record

__all__ = ["store_thresholds"]


def store_thresholds(weights: Path | str, thresholds: Mapping[str, float]) -> None:
    """Add the threshold of each lesion to ``training.json``, in place of older ones, and the hash of the weights.

    ``load_training_record(weights, thresholds=None)["thresholds"]`` gives them back, as long as the weights' files are
    those of now. A training that goes on in the folder writes the record anew, without them: they belong to weights
    that are no more.

    Args:
        weights: their folder, or one of the files in it.
        thresholds: lesion → probability at or above which a pixel is the lesion, above 0 and below 1.

    Raises:
        InputError: there is no record, or it cannot be read or written.
        ValueError: there is no threshold, or one out of range.

    Example:
        >>> import tempfile
        >>> from tinylesions.datasets import load_training_record, record_training
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record_training(folder, "model", {"architecture": "unet"})
        ...     store_thresholds(folder, {"microaneurysm": 0.25})
        ...     load_training_record(folder)["thresholds"]
        {'microaneurysm': 0.25}
    """
    weights = Path(weights)
    path = (weights if weights.is_dir() else weights.parent) / TRAINING_RECORD
    stored = {lesion: float(threshold) for lesion, threshold in thresholds.items()}
    if not stored or not all(0 < threshold < 1 for threshold in stored.values()):
        raise ValueError(f"thresholds are above 0 and below 1, at least one of them, not {stored}")
    if not path.is_file():
        raise InputError(f"there is no {path}: train first, or name the folder of trained weights.")
    record = load_training_record(path.parent)
    files = [file for name in record["networks"] if (file := path.with_name(f"{name}.pt")).is_file()]
    record |= {"thresholds": stored, SHA256: {file.name: file_sha256(file) for file in files}}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
