"""The hash by which a file is known again."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["file_sha256"]


def file_sha256(path: str | Path) -> str:
    """Hash of a file's bytes, e.g. of the weights that a prediction was made with."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
