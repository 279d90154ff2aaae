"""`tinylesions phantom --layout conic` and `--layout monusac`."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tinylesions.apps.phantoms import write_phantoms

LAYOUTS = ("conic", "monusac")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_drawn_tiles_pass_the_check(tinylesions, tmp_path, layout):
    data = tmp_path / "data"
    answer = tinylesions("phantom", data, "--layout", layout, "--photos", 4, 2, 2, "--size", 64, 96)
    assert answer.code == 0
    assert answer.out == f'8 phantoms in {data}; check them with: tinylesions check-data {layout} "{data}"\n'
    note = (data / "PHANTOMS.txt").read_text()
    assert note == "These tiles are drawings. Scores on them say nothing about tissue.\n"
    answer = tinylesions("check-data", layout, data)
    assert answer.code == 0
    assert f"{layout} in {data}: 8 tiles" in answer.out


def test_size_where_none_is_given(tmp_path):
    write_phantoms(tmp_path / "conic", "conic", (1, 0, 0), None, seed=0)
    assert np.load(tmp_path / "conic" / "images.npy").shape == (1, 256, 256, 3)
    write_phantoms(tmp_path / "monusac", "monusac", (1, 0, 0), None, seed=0)
    (tile,) = (tmp_path / "monusac").rglob("*.tif")
    with Image.open(tile) as picture:
        assert picture.size == (256, 256)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(63, 64), (-5, -5)])
def test_too_small(tinylesions, tmp_path, layout, size):
    answer = tinylesions("phantom", tmp_path / "new", "--layout", layout, "--photos", 1, 0, 0, "--size", *size)
    assert f"size is {size}; draw tiles of at least (64, 64) pixels (height, width)" in answer.problem
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_grades(tinylesions, tmp_path, layout):
    problem = tinylesions("phantom", tmp_path / "new", "--layout", layout, "--grading").problem
    assert problem == (
        f"tissue phantoms in {layout}'s layout have no grades: leave out --grading, or name another layout."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_half_written(monkeypatch, tmp_path, layout):
    from tinylesions.datasets.phantoms import histology_sources

    drawn = []
    draw = histology_sources.draw_tile

    def fail_later(*arguments):
        drawn.append(1)
        if len(drawn) == 3:
            raise MemoryError("the third source")
        return draw(*arguments)

    monkeypatch.setattr(histology_sources, "draw_tile", fail_later)
    with pytest.raises(MemoryError):
        write_phantoms(tmp_path / "new", layout, (4, 0, 0), (64, 64), seed=0)
    assert len(drawn) == 3
    assert list(tmp_path.iterdir()) == []
