"""Outlines are filled as a test of every pixel says, and XML that is not MoNuSAC's is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tinylesions.datasets import CONIC_CLASSES, MONUSAC_CLASSES, InputError, read_nuclei

from .layouts import outlines

SIZE = (40, 50)


@pytest.fixture
def write(tmp_path):
    def write_text(text: str) -> Path:
        path = tmp_path / "tile_1.xml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def inside(points: list[tuple[float, float]], x: float, y: float) -> bool:
    """Whether a ray to the right of the pixel's centre crosses the outline an odd number of times."""
    crossings = 0
    for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            crossings += 1
    return crossings % 2 == 1


def blob(rng: np.random.Generator) -> list[tuple[float, float]]:
    """A star-shaped outline, partly outside the tile for some; no corner lies on a pixel's centre."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    radii = rng.uniform(3, 9, 12)
    x, y = rng.uniform(-2, SIZE[1] + 2), rng.uniform(-2, SIZE[0] + 2)
    return [(float(x + r * np.cos(a)), float(y + r * np.sin(a))) for a, r in zip(angles, radii, strict=True)]


@pytest.mark.parametrize("seed", range(4))
def test_pixels_are_those_whose_centre_lies_in_the_outline(write, seed):
    rng = np.random.default_rng(seed)
    drawn = [(MONUSAC_CLASSES[number].title(), [blob(rng), blob(rng)]) for number in (2, 1, 4, 3, 1)]
    truth = np.zeros((*SIZE, 2), int)
    number = 0
    for name, polygons in drawn:
        for points in polygons:
            number += 1
            for row in range(SIZE[0]):
                for column in range(SIZE[1]):
                    if inside(points, column, row):
                        truth[row, column] = number, MONUSAC_CLASSES.index(name.lower())
    nuclei = read_nuclei(write(outlines(*drawn)), MONUSAC_CLASSES, SIZE)
    assert nuclei.dtype == np.int32
    assert (nuclei == truth).all()
    assert len(np.unique(nuclei[..., 0])) > 5


def test_area_is_that_of_another_library(write):
    points = [(5.2, 4.1), (30.4, 8.3), (36.1, 33.7), (9.6, 30.2)]
    image = Image.new("L", SIZE[::-1])
    ImageDraw.Draw(image).polygon(points, fill=1)
    nuclei = read_nuclei(write(outlines(("Macrophage", [points]))), MONUSAC_CLASSES, SIZE)
    assert abs(int((nuclei[..., 1] == 3).sum()) - int(np.asarray(image).sum())) < 60  # of 700; Pillow fills the rim
    assert nuclei[20, 20].tolist() == [1, 3]
    assert not nuclei[0].any()


def square(x: float, y: float, side: float = 6) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def test_later_outlines_win_and_are_cut_off(write):
    path = write(
        outlines(("Epithelial", [square(1.5, 1.5), square(4.5, 1.5)]), ("Neutrophil", [square(46.5, 36.5, 99)]))
    )
    nuclei = read_nuclei(path, MONUSAC_CLASSES, SIZE)
    assert nuclei[3, 2:12, 0].tolist() == [1, 1, 1, 2, 2, 2, 2, 2, 2, 0]
    assert (nuclei[37:, 47:] == (3, 4)).all()
    assert int((nuclei[..., 0] == 3).sum()) == 9


def test_ambiguous_and_slips_are_background(write):
    path = write(
        outlines(
            ("Epithelial", [square(1.5, 1.5), [(20, 20)], [(20, 20), (25, 25)], []]),
            ("Ambiguous", [square(3.5, 1.5)]),
            ("nobody knows", []),
            (" lymphocyte ", [square(20.5, 20.5)]),
        )
    )
    nuclei = read_nuclei(path, MONUSAC_CLASSES, SIZE)
    assert np.unique(nuclei.reshape(-1, 2), axis=0).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert (nuclei[2:8, 2:8] == (1, 1)).all()
    assert int((nuclei[..., 0] > 0).sum()) == 72
    with_ambiguous = read_nuclei(path, (*MONUSAC_CLASSES, "ambiguous"), SIZE)
    assert int((with_ambiguous[..., 1] == 5).sum()) == 36


def test_no_nuclei(write):
    assert not read_nuclei(write(outlines()), MONUSAC_CLASSES, SIZE).any()


@pytest.mark.parametrize("name", ["Plasma", "", "background"])
def test_unknown_class(write, name):
    path = write(outlines((name, [square(1, 1)])))
    known = ", ".join(MONUSAC_CLASSES[1:])
    with pytest.raises(
        InputError, match=rf"tile_1\.xml: .* class '{name}', which is none of {known}; give the class_names"
    ):
        read_nuclei(path, MONUSAC_CLASSES, SIZE)
    if name == "Plasma":
        assert read_nuclei(path, CONIC_CLASSES, SIZE)[3, 3].tolist() == [1, 4]


@pytest.mark.parametrize("coordinate", ["nan", "inf", "-1e9", "left", ""])
def test_vertices_that_are_no_pixels(write, coordinate):
    text = outlines(("Epithelial", [square(1.5, 2.5)])).replace('X="7.5"', f'X="{coordinate}"', 1)
    with pytest.raises(InputError, match=r"tile_1\.xml: a Vertex has the coordinate .*, which is no pixel"):
        read_nuclei(write(text), MONUSAC_CLASSES, SIZE)


BOMB = '<!DOCTYPE a [<!ENTITY b "lol"><!ENTITY c "&b;&b;">]>'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no plain XML"),
        ("<Annotations><Annotation>", "no plain XML"),
        ('<?xml version="1.0" encoding="nobody"?><Annotations/>', "no plain XML"),
        (f"{BOMB}<Annotations>&c;</Annotations>", "no plain XML .*document type"),
        ('<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><Annotations/>', "no plain XML .*document type"),
        ("<html/>", "holds no Annotations"),
    ],
)
def test_text_that_is_no_such_xml(write, text, sentence):
    with pytest.raises(InputError, match=rf"tile_1\.xml: .*{sentence}"):
        read_nuclei(write(text), MONUSAC_CLASSES, SIZE)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.xml: there is no such file"):
        read_nuclei(tmp_path / "none.xml", MONUSAC_CLASSES, SIZE)
    with pytest.raises(InputError, match=r"cannot be read"):
        read_nuclei(tmp_path, MONUSAC_CLASSES, SIZE)
