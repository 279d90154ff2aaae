from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tinylesions.datasets.atomic import atomic_folder, atomic_path
from tinylesions.datasets.errors import InputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_path_appears_only_at_the_end(tmp_path):
    target = tmp_path / "new" / "table.csv"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["table.csv"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), InputError("bad photo")])
def test_path_keeps_the_old_file_when_the_block_raises(tmp_path, error):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(type(error)) as caught, atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert caught.value is error
    assert target.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_folder_appears_only_at_the_end_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "photo"
    for text in ("first", "second"):
        with atomic_folder(target) as folder:
            (folder / f"{text}.txt").write_text(text)
            assert not (target / f"{text}.txt").exists()
    assert names(tmp_path) == ["photo"]
    assert names(target) == ["second.txt"]


def test_folder_keeps_the_old_one_when_the_block_raises(tmp_path):
    target = tmp_path / "photo"
    with atomic_folder(target) as folder:
        (folder / "old.txt").write_text("old")
    with pytest.raises(RuntimeError, match="broken"), atomic_folder(target) as folder:  # noqa: PT012
        (folder / "new.txt").write_text("half")
        raise RuntimeError("broken")
    assert names(tmp_path) == ["photo"]
    assert names(target) == ["old.txt"]


def test_folder_comes_back_when_it_cannot_be_replaced(tmp_path, monkeypatch):
    target = tmp_path / "photo"
    target.mkdir()
    (target / "old.txt").write_text("old")
    rename = Path.rename

    def refuse_the_new_one(self, new):
        if (self / "new.txt").exists():
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(self, new)

    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with pytest.raises(InputError, match="may write to"), atomic_folder(target) as folder:
        (folder / "new.txt").write_text("new")
    assert names(tmp_path) == ["photo"]
    assert names(target) == ["old.txt"]


@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_below_a_file(tmp_path, atomic):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file") as caught, atomic(tmp_path / "file" / "deep" / "name.csv"):
        pass
    assert str(tmp_path / "file") in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


def test_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"), atomic_folder(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_path_in_place_of_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder cannot be written"), atomic_path(tmp_path / "folder") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "may write to"), (errno.EIO, "check this path")],
)
def test_remedies(tmp_path, number, remedy):
    with pytest.raises(InputError, match=remedy) as caught, atomic_path(tmp_path / "table.csv"):
        raise OSError(number, "the system's reason")
    assert str(tmp_path / "table.csv") in str(caught.value)
    assert "the system's reason" in str(caught.value)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """What a full disk is like: writing beyond ``size`` bytes fails. The soft limit can be set back."""
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of a file")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk(tmp_path):
    refused = pytest.raises(InputError, match=r"target cannot be written \(File too large\): free some space")
    with refused, largest_file(1000), atomic_path(tmp_path / "target") as temporary:
        temporary.write_bytes(bytes(5000))
    assert names(tmp_path) == []
    with refused, largest_file(1000), atomic_folder(tmp_path / "target") as folder:
        (folder / "small").write_bytes(bytes(500))
        (folder / "large").write_bytes(bytes(5000))
    assert names(tmp_path) == []
