"""Tables of grades are read as official sets and spreadsheets write them; a wrong row is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.grade_tables import find_file, graded_items, read_grade_csv, read_grade_list

from .layouts import write_photo


def table(tmp_path: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        "image,level\na,4\nb,0\n",
        b"\xef\xbb\xbfimage,level\r\na,4\r\nb,0\r\n",
        "image,level,,,\na,4,,,\nb,0,,,\n,,,,\n\n",
        " Image , LEVEL \n a , 4 \n b ,0",
        'Usage,level,image\nPublic,4,"a"\nPrivate,"0",b\n',
        "image,level\na.jpeg,4\nb.JPG,0\n",
    ],
)
def test_csv_as_it_comes(tmp_path, content):
    grades = read_grade_csv(table(tmp_path, content), "image", "level")
    assert list(grades.items()) == [("a", 4), ("b", 0)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("image,level\na,4\nb,5\n", r"row 3 \(b\) has '5' where a grade 0 to 4 is due"),
        ("image,level\na,-1\n", r"row 2 \(a\) has '-1'"),
        ("image,level\na,severe\n", "has 'severe'"),
        ("image,level\na,2.5\n", "has '2.5'"),
        ("image,level\na,²\n", "has '²'"),
        ("image,level\na,\n", "has ''"),
        ("image,level\na\n", "has ''"),
        ("image,level\n\na,1\n,,\n,3\n", "row 5 does not name a photo"),
        ("image,level\na,1\nb,1\nA,1\n", "row 4 grades A a second time"),
        ("image,level\n", "holds no grade"),
        ("", "does not name one column 'image'"),
        ("image;level\na;1\n", "does not name one column 'image'"),
        ("image,grade\na,1\n", "does not name one column 'level'"),
        ("image,level,level\na,1,2\n", "does not name one column 'level'"),
        (b"image,level\n\xff,1\n", "no UTF-8 text"),
    ],
)
def test_wrong_csv_is_refused_in_a_sentence(tmp_path, content, words):
    path = table(tmp_path, content)
    with pytest.raises(InputError, match=words) as refusal:
        read_grade_csv(path, "image", "level")
    assert str(refusal.value).startswith(f"{path}: ")


def test_missing_csv(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_grade_csv(tmp_path / "none.csv", "image", "level")


def test_list_without_header(tmp_path):
    path = table(tmp_path, b"\xef\xbb\xbfa.jpg 4\r\nb c.jpg\t5\r\n\r\n", "train.txt")
    assert list(read_grade_list(path, highest=5).items()) == [("a", 4), ("b c", 5)]
    with pytest.raises(InputError, match=r"train.txt: row 2 \(b c\) has '5' where a grade 0 to 4 is due"):
        read_grade_list(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [("a.jpg 1\nb.jpg\n", "row 2 does not name a photo and its grade"), ("a.jpg x\n", "has 'x'"), ("\n", "no grade")],
)
def test_wrong_list_is_refused(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        read_grade_list(table(tmp_path, content, "train.txt"))


def test_photos_and_grades_are_joined_without_case_in_natural_order(tmp_path):
    for name in ("eye_10.JPG", "Eye_2.png"):
        write_photo(tmp_path / "photos" / name)
    items = graded_items(tmp_path / "photos", {"eye_10": 3, "eye_2": 0}, tmp_path / "t.csv")
    assert items == [
        {"id": "Eye_2", "image": str(tmp_path / "photos/Eye_2.png"), "grade": 0},
        {"id": "eye_10", "image": str(tmp_path / "photos/eye_10.JPG"), "grade": 3},
    ]


def test_photos_without_grade_and_grades_without_photo_are_counted(tmp_path):
    photos = tmp_path / "photos"
    for name in "abc":
        write_photo(photos / f"{name}.jpg")
    with pytest.raises(InputError, match=r"photos.b\.jpg: this photo \(the first of 2\) has no row in t.csv"):
        graded_items(photos, {"a": 1}, tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"c\.jpg: this photo has no row"):
        graded_items(photos, {"a": 1, "b": 1}, tmp_path / "t.csv")
    grades = dict.fromkeys("abcdef", 1)
    with pytest.raises(InputError, match=r"photos.d: this photo \(the first of 3\), which t.csv grades, is missing"):
        graded_items(photos, grades, tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"none.a: this photo \(the first of 6\), .* is missing"):
        graded_items(tmp_path / "none", grades, tmp_path / "t.csv")


def test_files_are_found_whatever_their_case(tmp_path):
    path = table(tmp_path, "", "TrainLabels.CSV")
    assert find_file(tmp_path, ("other.csv", "trainLabels.csv")) == path
    assert find_file(tmp_path, ("other.csv",)) is None
    table(tmp_path, "", "other.csv")
    with pytest.raises(InputError, match="holds the same; keep one"):
        find_file(tmp_path, ("other.csv", "trainLabels.csv"))
