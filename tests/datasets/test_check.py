"""The check counts the lesions of sound photos and names every problem of the others, in the datalist's order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinylesions.datasets.check import check_datalist, iter_check
from tinylesions.datasets.ddr import ddr_segmentation
from tinylesions.datasets.drac import drac_segmentation
from tinylesions.datasets.idrid import idrid_segmentation
from tinylesions.datasets.lesions import LESIONS, OCTA_LESIONS

from .layouts import square, write_ddr, write_drac, write_idrid, write_palette_mask

pytestmark = pytest.mark.filterwarnings("ignore:.*where the paper has")


@pytest.fixture
def items(tmp_path) -> list[dict]:
    return idrid_segmentation(write_idrid(tmp_path, (3, 5, 12, 35), (55,)))


def test_sound_set_has_counts_and_no_problem(items):
    report = check_datalist(items)
    assert report.problems == report.warnings == []
    frame = report.to_frame()
    assert frame.to_dict("list") == {
        "id": ["IDRiD_03", "IDRiD_05", "IDRiD_12", "IDRiD_35", "IDRiD_55"],
        "split": ["training"] * 3 + ["validation", "test"],
        "height": [12] * 5,
        "width": [16] * 5,
        "microaneurysm": [1] * 5,
        "haemorrhage": [4] * 5,
        "hard_exudate": [0, 0, 16, 0, 0],
        "soft_exudate": [16, 0, 25, 0, 0],
        "problem": [""] * 5,
        "warning": [""] * 5,
    }
    assert report.totals == {"microaneurysm": 5, "haemorrhage": 20, "hard_exudate": 16, "soft_exudate": 41}


def test_every_problem_of_a_photo_is_named_and_the_others_go_on(items):
    photo, masks = Path(items[2]["image"]), items[2]["label"]
    whole = photo.read_bytes()
    photo.write_bytes(whole[:-5])
    write_palette_mask(Path(masks["microaneurysm"]), square(0))
    write_palette_mask(Path(masks["haemorrhage"]), square(3)[:, :5])
    opaque = np.dstack([square(2) * 255] * 3 + [np.full((12, 16), 255, np.uint8)])
    Image.fromarray(opaque).save(masks["hard_exudate"])
    report = check_datalist(items)
    assert [bool(row.problem) for row in report.rows] == [False, False, True, False, False]
    row = report.rows[2]
    for words in ("truncated", "all black", "5 × 12 pixels and its photo 16 × 12", "alpha channel"):
        assert words in row.problem
    assert (row.height, row.width) == (12, 16)
    assert row.pixels == {"microaneurysm": 0, "haemorrhage": 0, "hard_exudate": 0, "soft_exudate": 25}
    assert report.problems == [row.problem]


def test_unreadable_photo_has_no_size(items):
    Path(items[0]["image"]).unlink()
    row = next(iter_check(items))
    assert (row.height, row.width) == (0, 0)
    assert "no such photo" in row.problem
    assert row.pixels["soft_exudate"] == 16


def test_photo_without_any_mask_is_a_warning(items):
    row = next(iter_check([{**items[0], "label": {}}]))
    assert row.problem == ""
    assert "no lesion is marked" in row.warning


def test_misspelt_lesion_is_a_problem(items):
    row = next(iter_check([{**items[0], "label": {"hemorrhage": items[0]["label"]["haemorrhage"]}}]))
    assert "'hemorrhage' is no lesion" in row.problem


def test_black_masks_are_a_problem_unless_the_data_set_ships_them(tmp_path):
    items = ddr_segmentation(write_ddr(tmp_path, {"train": 2}))
    assert check_datalist(items, allow_empty=True).problems == []
    assert len(check_datalist(items).problems) == 2


def test_lesions_of_octa_images(tmp_path):
    items = drac_segmentation(write_drac(tmp_path, {1: ("IRMA", "NPA"), 2: ("NPA",), 10: ()}, (3,)))
    masks = tmp_path / "A. Segmentation/2. Groundtruths/a. Training Set"
    Image.fromarray(square(5)).save(masks / "2. Nonperfusion Areas/2.png")  # 0 and 1, the others 0 and 255
    for report in (check_datalist(items), check_datalist(items, lesions=OCTA_LESIONS)):
        assert report.problems == []
        assert ["10.png: no lesion" in warning for warning in report.warnings] == [True]
        assert report.lesions == OCTA_LESIONS
        frame = report.to_frame().set_index("id")
        assert frame.loc["1", list(OCTA_LESIONS)].tolist() == [1, 4, 0]
        assert frame.loc["2", list(OCTA_LESIONS)].tolist() == [0, 25, 0]
        assert frame.loc["10", list(OCTA_LESIONS)].tolist() == [0, 0, 0]
        assert frame.loc["3", list(OCTA_LESIONS)].isna().all()
        assert report.totals == dict(zip(OCTA_LESIONS, (1, 29, 0), strict=True))


def test_images_without_lesions_get_the_columns_of_their_layout(tmp_path):
    items = drac_segmentation(write_drac(tmp_path, {1: (), 2: ()}))
    assert check_datalist(items, lesions=OCTA_LESIONS).totals == dict.fromkeys(OCTA_LESIONS, 0)
    assert check_datalist(items, lesions=LESIONS).totals == dict.fromkeys(LESIONS, 0)


def test_bad_masks_and_images_of_octa(tmp_path):
    items = drac_segmentation(write_drac(tmp_path, dict.fromkeys(range(1, 7), ("NPA",)), (7, 8)))
    items = sorted(items, key=lambda item: int(item["id"]))
    masks = [Path(item["label"]["nonperfusion_area"]) for item in items[:6]]
    for mask, array in zip(
        masks,
        (square(0), np.ones((12, 16)), square(3)[:, :5], square(3) + square(2), square(3), square(3)),
        strict=True,
    ):
        Image.fromarray(array.astype(np.uint8)).save(mask)
    Path(items[6]["image"]).write_bytes(b"")
    report = check_datalist(items, lesions=OCTA_LESIONS)
    words = (
        "all black",
        "every pixel",
        "5 × 12 pixels and its photo 16 × 12",
        "several values",
        "",
        "",
        "is empty",
        "",
    )
    for row, word in zip(report.rows, words, strict=True):
        assert word in row.problem
        assert bool(row.problem) == bool(word)
    assert report.totals["nonperfusion_area"] == 18


def test_lesions_of_two_families_in_one_datalist_are_a_problem(items, tmp_path):
    octa = drac_segmentation(write_drac(tmp_path / "octa", {1: ("NV",), 2: ()}))
    report = check_datalist([*items, *octa])
    assert len(report.problems) == 1
    assert "neovascularisation is none of microaneurysm" in report.problems[0]
    assert report.lesions == LESIONS


def test_rows_come_one_by_one(items):
    rows = iter_check(items)
    assert next(rows).id == "IDRiD_03"
    Path(items[1]["image"]).write_bytes(b"")  # not yet read
    assert "is empty" in next(rows).problem


def test_grades_without_masks_have_no_lesion_columns(items):
    photos = [{key: item[key] for key in ("id", "image", "split")} for item in items]
    graded = [{**photo, "grade": grade} for photo, grade in zip(photos, (3, 0, 3, 4, 1), strict=True)]
    Path(items[1]["image"]).write_bytes(b"")
    report = check_datalist(graded)
    assert list(report.to_frame().columns) == ["id", "split", "height", "width", "grade", "problem", "warning"]
    assert report.to_frame()["grade"].tolist() == [3, 0, 3, 4, 1]
    assert report.graded == {0: 1, 1: 1, 2: 0, 3: 2, 4: 1}
    assert report.totals == {}
    assert report.warnings == []
    assert ["is empty" in row.problem for row in report.rows] == [False, True, False, False, False]


def test_masks_and_grades_that_are_unknown_are_neither_zero_nor_counted(items):
    unmasked = {key: items[2][key] for key in ("id", "image", "split")}
    report = check_datalist([items[0], {**unmasked, "grade": 2}, {**items[1], "grade": 4}])
    frame = report.to_frame()
    assert frame["haemorrhage"].isna().tolist() == [False, True, False]
    assert frame["grade"].isna().tolist() == [True, False, False]
    assert frame.to_csv(index=False).split("\n")[2] == "IDRiD_12,training,12,16,,,,,2,,"
    assert report.totals == {"microaneurysm": 2, "haemorrhage": 8, "hard_exudate": 0, "soft_exudate": 16}
    assert report.graded == {0: 0, 1: 0, 2: 1, 3: 0, 4: 1}


@pytest.mark.parametrize(("grade", "warns"), [(0, False), (3, True)])
def test_only_grade_0_has_no_lesions(items, grade, warns):
    row = next(iter_check([{**items[0], "label": {}, "grade": grade}]))
    assert (f"no lesion is marked in this photo; its grade is {grade}" in row.warning) == warns


@pytest.mark.parametrize("grade", [5, -1, "2", 1.5])
def test_what_is_no_grade_is_a_problem(items, grade):
    row = next(iter_check([{**items[0], "grade": grade}]))
    assert f"{grade!r} is no grade" in row.problem
    assert row.grade is None
