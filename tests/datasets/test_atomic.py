"""A file that is replaced is the old one until the new one is whole."""

from __future__ import annotations

import pytest

from tinylesions.datasets.atomic import replacing


def test_the_file_appears_at_the_end(tmp_path):
    path = tmp_path / "file.txt"
    with replacing(path) as unfinished:
        unfinished.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_where_writing_fails(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as unfinished:
            unfinished.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
