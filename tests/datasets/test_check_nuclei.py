"""The check of a data set of nuclei counts what is there and names what is wrong, tile by tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinylesions.datasets import CONIC_CLASSES, MONUSAC_CLASSES, InputError, conic, monusac
from tinylesions.datasets.check_nuclei import NucleiReport, iter_check_nuclei

from .layouts import SIZE, outlines, write_conic, write_monusac, write_photo


def check(items, names=CONIC_CLASSES) -> NucleiReport:
    return NucleiReport(tuple(iter_check_nuclei(items, names)))


@pytest.fixture
def labels() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = np.zeros((9, *SIZE, 2), np.int16)
    for label in found:
        for number in range(1, 5):
            row, column = rng.integers(0, 10, 2)
            label[row : row + 3, column : column + 3] = number, rng.integers(1, 7)
    return found


def test_counts(tmp_path, labels):
    items = conic(write_conic(tmp_path, [f"a{number // 3}-{number % 3}" for number in range(9)], labels))
    report = check(items)
    assert [row.id for row in report.rows] == [item["id"] for item in items]
    assert not report.problems
    assert (len(report.splits), report.sources, report.sizes) == (3, 3, [SIZE])
    assert all(part.sources == 1 and len(part.rows) == 3 for part in report.splits.values())
    for number, name in enumerate(CONIC_CLASSES):
        of_class = labels[..., 1] == number
        assert report.pixels[name] == of_class.sum()
        if number:
            assert report.nuclei[name] == sum(len(set(labels[i, ..., 0][of_class[i]])) for i in range(9))
    assert "background" not in report.nuclei
    frame = report.to_frame()
    assert len(frame) == 9
    assert frame.filter(like=" pixels").to_numpy().sum() == labels[..., 0].size
    assert frame["plasma nuclei"].sum() == report.nuclei["plasma"]
    assert frame["source"].nunique() == 3


def test_classes_without_a_pixel(tmp_path, labels):
    labels[labels[..., 1] == 3] = 0
    items = conic(write_conic(tmp_path, [f"a{number}-0" for number in range(9)], labels))
    assert check(items).absent == ["lymphocyte"]
    assert check(items, (*CONIC_CLASSES, "new")).absent == ["lymphocyte", "new"]
    assert check(items, CONIC_CLASSES[:2]).absent == []  # every label is refused


@pytest.mark.parametrize("names", ["background,a", ("background",), ("background", "mean")])
def test_wrong_names_are_refused_at_once(names):
    with pytest.raises(InputError, match=r"^class_names: "):
        iter_check_nuclei([], names)


def test_wrong_patches_are_named(tmp_path, labels):
    labels[4, 0, 0] = 9, 7
    labels[5, 0, 0] = 0, 3
    items = conic(write_conic(tmp_path, [f"a{number}-0" for number in range(9)], labels))
    report = check(items)
    assert report.problems.keys() == {"a4-0", "a5-0"}
    assert "patch 4 has class 7" in report.problems["a4-0"]
    wrong = next(row for row in report.rows if row.id == "a4-0")
    assert not any([*wrong.pixels.values(), *wrong.nuclei.values()])


def test_wrong_files_are_named(tmp_path):
    patients = {f"p{number}": 1 for number in range(4)}
    items = monusac(write_monusac(tmp_path, patients))
    Path(items[0]["image"]).write_bytes(b"no photo")
    Path(items[1]["label"]).write_text(outlines(("Plasma", [[(1, 1), (5, 1), (5, 5)]])))
    photo = write_photo(tmp_path / "tall.png")
    report = check(
        [*items[:3], {**items[3], "image": str(photo), "label": str(tmp_path / "none.xml")}], MONUSAC_CLASSES
    )
    problems = list(report.problems.values())
    assert [row.id for row in report.rows if row.problem] == [items[n]["id"] for n in (0, 1, 3)]
    assert "is no JPG, PNG, TIFF or BMP" in problems[0]
    assert "'Plasma', which is none of" in problems[1]
    assert "none.xml: there is no such file" in problems[2]
    assert report.nuclei == {"epithelial": 1, "lymphocyte": 0, "macrophage": 0, "neutrophil": 0}


def test_sizes_of_tiles(tmp_path):
    items = monusac(write_monusac(tmp_path, dict.fromkeys("abc", 1)))
    Image.new("RGB", (5, 300)).save(items[0]["image"])
    assert check(items, MONUSAC_CLASSES).sizes == [SIZE, (300, 5)]
