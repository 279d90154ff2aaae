"""Files and folders that appear under their final name only when they are complete: see the datasets' module."""

from __future__ import annotations

from tinylesions.datasets.atomic import atomic_folder, atomic_path

__all__ = ["atomic_folder", "atomic_path"]
