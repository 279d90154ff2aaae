"""Reads what `tinylesions predict` has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from tinylesions.datasets import LESIONS

FILES = {*(f"{lesion}.png" for lesion in LESIONS), "label_map.png", "overlay.jpg", "lesions.csv", "summary.json"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / f"{name}.csv", dtype={"photo": str}, keep_default_na=False)
