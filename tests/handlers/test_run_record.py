"""What a run writes down about itself."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch

import tinylesions
from tinylesions.handlers import git_revision, record_run, run_record


def test_content(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tinylesions", "train", "--seed", "1"])
    settings = {"seed": 1, "folder": Path("a"), "device": torch.device("cpu"), "title": "Läsionen"}
    record_run(tmp_path / "new" / "run.json", settings)
    record = json.loads((tmp_path / "new" / "run.json").read_text(encoding="utf-8"))
    assert record["settings"] == {"seed": 1, "folder": "a", "device": "cpu", "title": "Läsionen"}
    assert record["command"] == ["tinylesions", "train", "--seed", "1"]
    assert record["tinylesions"] == tinylesions.__version__
    assert record["packages"]["torch"] == importlib.metadata.version("torch")
    assert record["packages"]["monai"] == importlib.metadata.version("monai")
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["threads"] == torch.get_num_threads()
    assert record["git_revision"] == git_revision()
    age = datetime.now(timezone.utc) - datetime.fromisoformat(record["started"])
    assert timedelta(seconds=-1) < age < timedelta(minutes=10)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    answer = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


@pytest.fixture
def repository(tmp_path) -> Path:
    try:
        git(tmp_path, "init", "-q")
    except FileNotFoundError:
        pytest.skip("there is no git on this machine")
    for folder in ("handlers", "venv/tinylesions/handlers"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "run_record.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_revision_and_local_changes(repository, monkeypatch):
    monkeypatch.setattr(run_record, "__file__", str(repository / "handlers" / "run_record.py"))
    assert git_revision() == git(repository, "rev-parse", "HEAD")
    (repository / "handlers" / "run_record.py").write_text("changed")
    assert git_revision() == git(repository, "rev-parse", "HEAD") + "+"


def test_installed_package_has_no_revision(repository, monkeypatch):
    """A virtual environment inside somebody's repository: that revision says nothing of this package."""
    monkeypatch.setattr(run_record, "__file__", str(repository / "venv/tinylesions/handlers/run_record.py"))
    assert git_revision() is None


def test_machine_without_git(monkeypatch, tmp_path):
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(run_record, "__file__", str(tmp_path / "handlers" / "run_record.py"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_revision() is None
