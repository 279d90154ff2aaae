"""What ran: the command, the versions and the settings, beside the results."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from tinylesions import __version__
from tinylesions.datasets.atomic import atomic_path

__all__ = ["git_revision", "record_run"]

_PACKAGES = ("torch", "monai", "numpy", "pytorch-ignite", "scikit-image", "pillow")


def git_revision() -> str | None:
    """Commit of the source tree this package runs from, with ``+`` for local changes; None outside a checkout."""
    source = Path(__file__).parents[1]
    if not (source / ".git").exists():  # installed: a repository further up is somebody else's
        return None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+"], cwd=source, capture_output=True, text=True
        )
    except FileNotFoundError:  # no git on this machine
        return None
    return answer.stdout.strip() or None


def record_run(path: str | Path, settings: Mapping[str, Any]) -> None:
    """Write a JSON file that says what ran: command, versions, git revision, machine, settings.

    Runs that the file already tells of, which this one may go on from, are kept as ``earlier``.

    Args:
        path: the file, e.g. ``<output_dir>/run.json``.
        settings: what the results depend on; anything JSON cannot hold is written as text.
    """
    record = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "tinylesions": __version__,
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "settings": dict(settings),
    }
    path = Path(path)
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        record["earlier"] = [*before.pop("earlier", []), before]
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
