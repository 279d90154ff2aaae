"""`tinylesions phantom --layout drac`."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tinylesions.apps import phantoms
from tinylesions.apps.phantoms import write_phantoms

IMAGES = Path("A. Segmentation", "1. Original Images")


def test_drawn_images_pass_the_check(tinylesions, tmp_path):
    data = tmp_path / "data"
    answer = tinylesions("phantom", data, "--layout", "drac", "--photos", 4, 2, 2, "--size", 128, 160)
    assert answer.code == 0
    assert answer.out == f'8 phantoms in {data}; check them with: tinylesions check-data drac "{data}"\n'
    assert sorted(path.name for path in data.iterdir()) == ["A. Segmentation", "PHANTOMS.txt"]
    # Training and validation are one folder: the reader splits it.
    assert [len(list((data / IMAGES / split).iterdir())) for split in ("a. Training Set", "b. Testing Set")] == [6, 2]
    answer = tinylesions("check-data", "drac", data)
    assert answer.code == 0
    assert answer.out.count("160×128") == 8
    assert "no problem" in answer.out


@pytest.mark.parametrize(("layout", "wanted"), [("drac", (1024, 1024)), ("idrid", (2848, 4288)), ("ddr", (2848, 4288))])
def test_size_where_none_is_given(monkeypatch, tinylesions, tmp_path, layout, wanted):
    sizes = []

    def write(folder, *counts, size, seed, progress):
        sizes.append(size)

    for name in ("write_drac", "write_idrid_segmentation", "write_ddr_segmentation"):
        monkeypatch.setattr(phantoms, name, write)
    assert tinylesions("phantom", tmp_path / "data", "--layout", layout, "--photos", 1, 0, 1).code == 0
    assert sizes == [wanted]


def test_full_size_is_written(tmp_path):
    write_phantoms(tmp_path / "data", "drac", (1, 0, 0), None, seed=0)
    (image,) = (tmp_path / "data" / IMAGES).rglob("*.png")
    with Image.open(image) as opened:
        assert opened.size == (1024, 1024)


@pytest.mark.parametrize("size", [(127, 128), (-5, -5)])
def test_too_small(tinylesions, tmp_path, size):
    answer = tinylesions("phantom", tmp_path / "new", "--layout", "drac", "--photos", 1, 0, 0, "--size", *size)
    assert f"size is {size}; draw OCTA phantoms of at least (128, 128) pixels (height, width)" in answer.problem
    assert list(tmp_path.iterdir()) == []


def test_no_grades(tinylesions, tmp_path):
    problem = tinylesions("phantom", tmp_path / "new", "--layout", "drac", "--grading").problem
    assert problem == ("OCTA phantoms in drac's layout have no grades: leave out --grading, or name another layout.")
    assert list(tmp_path.iterdir()) == []
