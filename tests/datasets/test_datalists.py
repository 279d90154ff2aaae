"""Datalists survive the file, which MONAI reads as well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinylesions.datasets.datalists import labelled_family, load_datalist, save_datalist, select
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import ALL_LESIONS, LESIONS, OCTA_LESIONS


@pytest.fixture
def items(tmp_path) -> list[dict]:
    def item(name: str, split: str, **more) -> dict:
        label = {"haemorrhage": str(tmp_path / f"data/masks/{name}.tif")}
        return {"id": name, "image": str(tmp_path / f"data/{name}.jpg"), "label": label, **more, "split": split}

    disc = str(tmp_path / "data/é disc.tif")
    return [item("a", "training", optic_disc=disc), item("b", "training"), item("c", "validation"), item("d", "test")]


def test_select_picks_a_split_or_says_which_there_are(items):
    assert [item["id"] for item in select(items, "training")] == ["a", "b"]
    with pytest.raises(InputError, match=r"no photo for 'test' \(it has: training, validation\)"):
        select(items[:3], "test")
    with pytest.raises(InputError, match="it has: none"):
        select([], "training")


def test_saved_datalist_is_relative_and_comes_back(tmp_path, items):
    path = tmp_path / "lists/datalist.json"
    path.parent.mkdir()
    save_datalist(items, path)
    sections = json.loads(path.read_text(encoding="utf-8"))
    assert list(sections) == ["training", "validation", "test"]
    assert sections["training"][0] == {
        "id": "a",
        "image": "../data/a.jpg",
        "label": {"haemorrhage": "../data/masks/a.tif"},
        "optic_disc": "../data/é disc.tif",
    }
    assert load_datalist(path) == items
    assert [file.name for file in path.parent.iterdir()] == ["datalist.json"]


def test_grades_and_what_a_network_wrote_come_back(tmp_path, items):
    photo = {key: items[0][key] for key in ("id", "image")}
    graded = [
        {**photo, "grade": 0, "split": "training"},
        {**photo, "grade": 4, "pseudo": [], "split": "training"},
        {**photo, "grade": 2, "label": items[0]["label"], "pseudo": ["grade", "label"], "split": "validation"},
        {**photo, "label": {}, "split": "test"},
    ]
    save_datalist(graded, tmp_path / "data.json")
    assert load_datalist(tmp_path / "data.json") == graded


def test_saved_datalist_moves_with_its_folder(tmp_path, items):
    save_datalist(items, tmp_path / "data.json")
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "data.json").rename(tmp_path / "elsewhere/data.json")
    assert load_datalist(moved)[1]["image"] == str(tmp_path / "elsewhere/data/b.jpg")


def test_monai_reads_the_file(tmp_path, items):
    decathlon = pytest.importorskip("monai.data")
    save_datalist(items, tmp_path / "data.json")
    loaded = decathlon.load_decathlon_datalist(tmp_path / "data.json", False, "training")
    assert [Path(entry["image"]) for entry in loaded] == [Path(item["image"]) for item in items[:2]]


def test_failed_save_leaves_the_old_file(tmp_path, items):
    path = tmp_path / "data.json"
    save_datalist(items, path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_datalist([{**items[0], "grade": object()}], path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["data.json"]


OCTA = '{"id": "a", "image": "a.png", "label": {"neovascularisation": "m.png"}}'


def test_only_test_images_of_octa_may_hide_their_truth(tmp_path):
    path = tmp_path / "data.json"
    hidden = '{"id": "b", "image": "b.png"}'
    path.write_text(f'{{"training": [{OCTA}], "test": [{hidden}]}}')
    assert load_datalist(path)[1] == {"id": "b", "image": str(tmp_path / "b.png"), "split": "test"}
    for text in (
        f'{{"training": [{OCTA}], "validation": [{hidden}]}}',
        f'{{"training": [{OCTA}, {hidden}]}}',
        f'{{"training": [{OCTA.replace("neovascularisation", "haemorrhage")}], "test": [{hidden}]}}',
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=r"entry . of .* with a label or a grade, or both"):
            load_datalist(path)


@pytest.mark.parametrize(
    ("named", "among", "family"),
    [
        ([], ALL_LESIONS, LESIONS),
        (["nonperfusion_area"], ALL_LESIONS, OCTA_LESIONS),
        (["nonperfusion_area", "haemorrhage", "neovascularisation"], ALL_LESIONS, OCTA_LESIONS),
        (["haemorrhage", "soft_exudate", "neovascularisation"], ALL_LESIONS, LESIONS),
        (["vessel"], ALL_LESIONS, LESIONS),
        ([], OCTA_LESIONS, OCTA_LESIONS),
        (["haemorrhage"], OCTA_LESIONS, OCTA_LESIONS),
    ],
)
def test_family_that_the_labels_name(named, among, family):
    items = [{"id": "graded"}, *({"label": {lesion: "mask.png"}} for lesion in named), {"label": {}}]
    assert labelled_family(items, among) == family


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[]", "lists named training, validation, test"),
        ('{"train": []}', "lists named"),
        ('{"test": 5}', "lists named"),
        ('{"test": [{"id": "a", "image": "a.jpg"}]}', "entry 1 of test"),
        ('{"test": [{"id": "a", "image": "a.jpg", "label": {"haemorrhage": 3}}]}', "entry 1 of test"),
        ('{"test": [7]}', "entry 1 of test"),
        ('{"test": [{"id": "a", "image": "a.jpg", "label": null, "grade": 1}]}', "entry 1 of test"),
        ('{"test": [{"id": "a", "image": "a.jpg", "grade": 5}]}', "entry 1 of test .* a label or a grade, or both"),
        ('{"test": [{"id": "a", "image": "a.jpg", "grade": -1}]}', "entry 1 of test"),
        ('{"test": [{"id": "a", "image": "a.jpg", "grade": true}]}', "entry 1 of test"),
        ('{"test": [{"id": "a", "image": "a.jpg", "grade": 1.0}]}', "entry 1 of test"),
        ('{"test": [{"id": "a", "image": "a.jpg", "grade": null, "label": {}}]}', "entry 1 of test"),
        ('{"test": [{"id": "a", "image": "a.jpg", "grade": 1, "pseudo": "grade"}]}', "entry 1 of test"),
        ('{"test": [{"id": "a", "image": "a.jpg", "grade": 1, "pseudo": ["grades"]}]}', "entry 1 of test"),
        ('{"test": [{"id": "a", "image": "a.jpg", "grade": 1, "pseudo": [["grade"]]}]}', "entry 1 of test"),
        ('{"test": [{"id": "a", "image": "a.jpg", "grade": 1, "pseudo": ["grade", "grade"]}]}', "entry 1 of test"),
    ],
)
def test_other_files_are_refused(tmp_path, text, words):
    path = tmp_path / "data.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as refusal:
        load_datalist(path)
    assert str(path) in str(refusal.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_datalist(tmp_path / "none.json")
