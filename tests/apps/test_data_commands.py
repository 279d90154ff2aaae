"""`tinylesions phantom` and `tinylesions check-data` on good data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tinylesions.datasets import LESION_CODES, LESIONS, OCTA_LESIONS, load_datalist, save_datalist


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


@pytest.fixture
def octa(tmp_path) -> Path:
    """DRAC2022's folders: five images with nonperfusion areas, two with the others, two of which nobody knows."""
    base = tmp_path / "octa" / "A. Segmentation"
    images, masks = base / "1. Original Images", base / "2. Groundtruths" / "a. Training Set"
    rng = np.random.default_rng(0)

    def save(array: np.ndarray, folder: Path, number: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array.astype(np.uint8)).save(folder / f"{number}.png")

    for number in range(1, 8):
        save(rng.integers(0, 256, (40, 30)), images / ("a. Training Set" if number < 6 else "b. Testing Set"), number)
        if number < 6:
            save(np.eye(40, 30) * (255 if number % 2 else 1), masks / "2. Nonperfusion Areas", number)
    for number in (2, 3):
        save(np.eye(40, 30, 1) * 255, masks / "1. Intraretinal Microvascular Abnormalities", number)
        save(np.eye(40, 30, -1), masks / "3. Neovascularization", number)
    return base.parent


def test_octa_images(tinylesions, octa, tmp_path):
    csv, datalist = tmp_path / "table.csv", tmp_path / "new" / "list.json"
    answer = tinylesions("check-data", "drac", octa, "--csv", csv, "--save-datalist", datalist)
    assert answer.code == 0, answer
    assert f"drac in {octa}: 7 photos, lesion pixels\n" in answer.out
    assert "5 training images, 2/5/2 of them with IRMA/NPA/NV, and 2 test images, where the paper has" in answer.err
    rows = {words[0]: words[1:] for words in map(str.split, answer.out.splitlines()) if words}
    assert rows["photo"] == ["split", "size", "IRMA", "NPA", "NV", "files"]
    assert rows["1"][1:] == ["30×40", "–", "30", "–", "ok"]
    assert rows["2"][1:] == ["30×40", "29", "30", "30", "ok"]
    assert rows["7"] == ["test", "30×40", "?", "?", "?", "ok"]
    assert rows["all"] == ["58", "150", "60", "no", "problem"]
    table = pd.read_csv(csv, dtype={"id": str}).set_index("id")
    assert list(table.columns) == ["split", "height", "width", *OCTA_LESIONS, "problem", "warning"]
    assert set(table["split"]) == {"training", "validation", "test"}
    # the datalist is a layout like the others
    again = tinylesions("check-data", "json", datalist)
    assert again.code == 0
    shared = "IRMA"
    assert again.out[again.out.index(shared) :] == answer.out[answer.out.index(shared) : answer.out.index("saved as")]


def test_problems_of_octa_images(tinylesions, octa, tmp_path):
    datalist = tmp_path / "list.json"
    tinylesions("check-data", "drac", octa, "--save-datalist", datalist)
    text = datalist.read_text()
    datalist.write_text(text.replace('"neovascularisation"', '"neovascularization"', 1))
    answer = tinylesions("check-data", "json", datalist)
    assert answer.code == 2
    assert answer.out.count("problem: ") == 1
    assert f"'neovascularization' is no lesion; name it one of {', '.join(OCTA_LESIONS)}\n" in answer.out
    masks = octa / "A. Segmentation" / "2. Groundtruths" / "a. Training Set"
    Image.new("L", (30, 40)).save(masks / "2. Nonperfusion Areas" / "4.png")
    (octa / "A. Segmentation" / "1. Original Images" / "b. Testing Set" / "6.png").write_bytes(b"")
    answer = tinylesions("check-data", "drac", octa)
    assert answer.code == 2
    assert "4.png: the mask is all black" in answer.out
    assert "6.png: the photo is empty" in answer.out
    shutil.rmtree(masks / "3. Neovascularization")
    problem = tinylesions("check-data", "drac", octa).problem
    assert "3. Neovascularization: this folder is missing" in problem


def test_a_folder_of_ones_own(tinylesions, tmp_path):
    root, csv = tmp_path / "own", tmp_path / "table.csv"
    for folder in ("images", "masks/drusen", "masks/HE"):
        (root / folder).mkdir(parents=True)
    for number in range(1, 4):
        Image.new("RGB", (30, 40), (90, 60, 20)).save(root / "images" / f"eye{number}.png")
        Image.fromarray(np.eye(40, 30, dtype=np.uint8) * 255 * (number < 3)).save(
            root / f"masks/drusen/eye{number}.png"
        )
    Image.fromarray(np.eye(40, 30, 1, dtype=np.uint8) * 255).save(root / "masks/HE/eye1.png")
    (root / "photos.csv").write_text("photo,split,grade\neye1,training,2\neye2,validation,\neye3,test,0\n")
    answer = tinylesions("check-data", "folder", root, "--csv", csv)
    assert answer.code == 0, answer
    lines = [line.split() for line in answer.out.splitlines() if line.strip()]
    assert lines[1] == ["photo", "split", "size", "HE", "drusen", "grade", "files"]
    assert ["eye1", "training", "30×40", "29", "30", "2", "ok"] in lines
    assert ["eye3", "test", "30×40", "–", "–", "0", "ok"] in lines
    start = lines.index(["split", "HE", "drusen"]) + 2
    assert lines[start : start + 3] == [["training", "1", "1"], ["validation", "0", "1"], ["test", "0", "0"]]
    assert pd.read_csv(csv)["drusen"].tolist() == [30, 30, 0]
    # a JSON datalist could not tell a lesion of one's own from a misspelt one
    datalist = tmp_path / "list.json"
    refused = tinylesions("check-data", "folder", root, "--save-datalist", datalist)
    assert (refused.code, datalist.exists()) == (2, False)
    assert "a datalist holds no drusen: leave --save-datalist out" in refused.problem
    shutil.rmtree(root / "masks/drusen")
    assert tinylesions("check-data", "folder", root, "--save-datalist", datalist).code == 0
    assert "no problem" in tinylesions("check-data", "json", datalist).out
    shutil.rmtree(root / "masks")
    assert "there are no masks to learn from" in tinylesions("check-data", "folder", root).problem


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
