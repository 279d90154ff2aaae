"""`tinylesions phantom` and `tinylesions check-data` on good data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tinylesions.datasets import LESION_CODES, LESIONS, load_datalist, save_datalist


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("layout", "counts"), [("idrid", {3, 1}), ("ddr", {2, 1})])
def test_phantoms_pass_the_check(tinylesions, tmp_path, layout, counts):
    data = tmp_path / "new" / "[red]data"
    answer = tinylesions("phantom", data, "--layout", layout, "--photos", 2, 1, 1, "--size", 192, 256)
    assert answer.code == 0
    assert answer.out == f'4 phantoms in {data}; check them with: tinylesions check-data {layout} "{data}"\n'
    assert [path.name for path in data.parent.iterdir()] == ["[red]data"]
    assert {len(list(folder.glob("*.jpg"))) for folder in data.rglob("*") if folder.is_dir()} - {0} == counts
    answer = tinylesions("check-data", layout, data)
    assert answer.code == 0
    assert f"{layout} in {data}: 4 photos" in answer.out
    assert answer.out.count("256×192") == 4
    assert "no problem" in answer.out


def test_an_empty_folder_is_filled(tinylesions, tmp_path):
    assert tinylesions("phantom", tmp_path, "--photos", 1, 0, 1, "--size", 192, 256).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A. Segmentation", "PHANTOMS.txt"]


def test_grading_and_seed(tinylesions, tmp_path):
    for name, seed in (("a", 0), ("again", 0), ("other", 1)):
        answer = tinylesions(
            "phantom", tmp_path / name, "--grading", "--photos", 1, 0, 1, "--size", 192, 256, "--seed", seed
        )
        assert answer.code == 0
        assert f'check them with: tinylesions check-data idrid_grading "{tmp_path / name}"' in answer.out
    first, again, other = (contents(tmp_path / name) for name in ("a", "again", "other"))
    assert first == again
    assert first.keys() == other.keys()
    assert first != other


@pytest.mark.parametrize(
    ("options", "layout"),
    [
        (("--layout", "idrid", "--grading"), "idrid_grading"),
        (("--layout", "ddr", "--grading"), "ddr_grading"),
        (("--layout", "eyepacs"), "eyepacs"),
    ],
)
def test_graded_phantoms_pass_the_check(tinylesions, tmp_path, options, layout):
    data, csv, datalist = tmp_path / "data", tmp_path / "table.csv", tmp_path / "list.json"
    answer = tinylesions("phantom", data, *options, "--photos", 4, 2, 1, "--size", 192, 256)
    assert answer.out == f'7 phantoms in {data}; check them with: tinylesions check-data {layout} "{data}"\n'
    answer = tinylesions("check-data", layout, data, "--csv", csv, "--save-datalist", datalist)
    assert answer.code == 0
    assert f"{layout} in {data}: 7 photos\n" in answer.out
    assert "no problem" in answer.out
    assert "MA" not in answer.out
    table = pd.read_csv(csv, index_col="id")
    assert list(table.columns) == ["split", "height", "width", "grade", "problem", "warning"]
    assert {item["id"]: item["grade"] for item in load_datalist(datalist)} == dict(table["grade"])
    counts = table["grade"].value_counts()
    for grade in range(5):
        count = int(counts.get(grade, 0))
        assert f"{grade}: {count} photo{'' if count == 1 else 's'} " in answer.out
    assert tinylesions("check-data", "json", datalist).code == 0


def test_problems_of_graded_photos(tinylesions, tmp_path):
    tinylesions("phantom", tmp_path / "data", "--layout", "eyepacs", "--photos", 2, 0, 0, "--size", 192, 256)
    (tmp_path / "data" / "train" / "10_right.jpeg").write_bytes(b"")
    answer = tinylesions("check-data", "eyepacs", tmp_path / "data")
    assert answer.code == 2
    assert "problem: " in answer.out
    assert "10_right.jpeg: the photo is empty" in answer.out
    assert not (tmp_path / "data" / "test").exists()
    (tmp_path / "data" / "train" / "10_right.jpeg").unlink()
    assert "10_right: this photo" in tinylesions("check-data", "eyepacs", tmp_path / "data").problem


def test_what_is_unknown_is_a_question_mark(tinylesions, dataset, tmp_path):
    datalist = tmp_path / "list.json"
    tinylesions("check-data", "idrid", dataset, "--save-datalist", datalist)
    items = load_datalist(datalist)
    del items[0]["label"]
    save_datalist([{**items[0], "grade": 2}, *items[1:]], datalist)
    answer = tinylesions("check-data", "json", datalist)
    rows = {words[0]: words for words in map(str.split, answer.out.splitlines()) if words and "IDRiD_" in words[0]}
    assert rows[items[0]["id"]][3:] == ["?", "?", "?", "?", "2", "ok"]
    assert rows[items[1]["id"]][-2:] == ["?", "ok"]
    assert "?" not in rows[items[1]["id"]][:-2]


def test_table_and_datalist(tinylesions, dataset, tmp_path):
    csv, datalist = tmp_path / "[red]table.csv", tmp_path / "new" / "[red]datalist.json"
    answer = tinylesions("check-data", "idrid", dataset, "--csv", csv, "--save-datalist", datalist)
    assert answer.code == 0, answer
    assert f"saved as {csv}\n" in answer.out
    assert f"datalist saved as {datalist}; train on it with --layout json --dataset_dir {datalist}\n" in answer.out
    table = pd.read_csv(csv, index_col="id")
    masks = {path.stem: np.asarray(Image.open(path)) for path in dataset.rglob("*.tif")}
    for photo, row in table.iterrows():
        assert (row["width"], row["height"]) == (256, 192)
        for lesion in LESIONS:
            mask = masks.get(f"{photo}_{LESION_CODES[lesion]}", np.zeros(1))
            assert row[lesion] == np.count_nonzero(mask)
    assert {item["id"]: item["split"] for item in load_datalist(datalist)} == dict(table["split"])
    # the datalist is a layout like the others
    assert "no problem" in tinylesions("check-data", "json", datalist).out


def test_a_photo_without_lesions_is_a_warning(tinylesions, dataset):
    for path in dataset.rglob("IDRiD_01_*.tif"):
        path.unlink()
    answer = tinylesions("check-data", "idrid", dataset)
    assert answer.code == 0
    assert "warning: " in answer.out
    assert "no lesion is marked in this photo" in answer.out


def test_the_size_of_an_unreadable_photo_is_not_zero(tinylesions, dataset):
    photo = next(dataset.rglob("IDRiD_01.jpg"))
    photo.write_bytes(b"")
    answer = tinylesions("check-data", "idrid", dataset)
    assert answer.code == 2
    assert "0×0" not in answer.out


def test_folders_in_another_case(tinylesions, dataset):
    # as a system that does not tell the cases apart hands them on
    renamed = dataset.with_name("renamed")
    renamed.mkdir()
    shutil.copytree(dataset / "A. Segmentation", renamed / "a. segmentation")
    assert tinylesions("check-data", "idrid", renamed).code == 0
