"""Which photos an earlier prediction finished, and from which file and with which settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinylesions.datasets import InputError, file_sha256
from tinylesions.datasets.atomic import atomic_path

__all__ = ["finished_folders", "is_finished", "mark_finished", "refuse_other_photo"]


def mark_finished(folder: Path, photo: Path, key: str) -> None:
    """Write into a photo's summary of what file and with which settings it is."""
    facts = {**_facts(folder), "file_sha256": file_sha256(photo), "settings_key": key}
    with atomic_path(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def is_finished(folder: Path, photo: Path, key: str) -> bool:
    """Whether a run with the same settings wrote this folder from this very file."""
    facts = _facts(folder)
    if (facts.get("file"), facts.get("settings_key")) != (str(photo), key):
        return False
    return photo.is_file() and facts.get("file_sha256") == file_sha256(photo)


def refuse_other_photo(folder: Path, photo: Path) -> None:
    """Protect the result of another photo of the same name.

    Raises:
        InputError: the folder holds such a result.
    """
    facts = _facts(folder)
    if facts.get("file", str(photo)) == str(photo) or not photo.is_file():
        return
    if facts.get("file_sha256") != file_sha256(photo):
        raise InputError(
            f"{photo}: {folder} holds the result of another photo of that name, {facts['file']}: name another output"
            " folder, or replace the result with --overwrite."
        )


def finished_folders(output_dir: Path, key: str) -> list[Path]:
    """The folders of all photos that runs with these settings finished."""
    folders = sorted(path.parent for path in output_dir.glob("*/summary.json"))
    return [folder for folder in folders if _facts(folder).get("settings_key") == key]


def _facts(folder: Path) -> dict[str, Any]:
    """What a photo's summary says; nothing where there is none that can be read, so that it is predicted again."""
    try:
        return json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
