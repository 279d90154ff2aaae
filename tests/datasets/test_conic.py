"""CoNIC's official layout is listed from the headers of its arrays, and what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinylesions.datasets import InputError, class_frequencies, conic, read_nuclei, read_tile

from .layouts import SIZE, write_conic

CONSEP = ("background", "other", "inflammatory", "epithelial", "spindle")


@pytest.fixture
def root(tmp_path) -> Path:
    return write_conic(tmp_path, [f"consep_{image}-{number:04}" for image in range(1, 6) for number in (0, 7, 30)])


def test_items_point_into_the_arrays(root):
    items = {item["id"]: item for item in conic(str(root))}
    assert len(items) == 15
    split = items["consep_2-0007"].pop("split")
    assert split in ("training", "validation", "test")
    assert items["consep_2-0007"] == {
        "id": "consep_2-0007",
        "image": str(root / "images.npy"),
        "label": str(root / "labels.npy"),
        "index": 4,
        "source": "consep_2",
    }
    images, labels = (np.load(root / f"{name}.npy") for name in ("images", "labels"))
    for item in items.values():
        assert (read_tile(item["image"], item["index"]) == images[item["index"]]).all()
        nuclei = read_nuclei(item["label"], list("0123456"), SIZE, item["index"])
        assert (nuclei == labels[item["index"]]).all()


@pytest.mark.parametrize(
    ("name", "source"),
    [("train_10_000", "train_10"), ("crag_3-0012", "crag_3"), ("a-b_c-1", "a-b_c"), ("glas_1_2-3", "glas_1_2")],
)
def test_source_is_the_name_without_its_last_number(tmp_path, name, source):
    items = conic(write_conic(tmp_path, [name, "b_1-0", "c_1-0"]))
    assert {item["id"]: item["source"] for item in items} == {name: source, "b_1-0": "b_1", "c_1-0": "c_1"}


def test_splits_have_the_shares(tmp_path):
    names = [f"tile_{image:02}_{number:03}" for image in range(20) for number in range(0, 16, 4)]
    items = conic(write_conic(tmp_path, names), validation_share=0.2, test_share=0.1)
    splits = {split: [item for item in items if item["split"] == split] for split in ("training", "validation", "test")}
    assert [len(split) for split in splits.values()] == [56, 16, 8]
    assert sum(len({item["source"] for item in split}) for split in splits.values()) == 20
    assert len(conic(tmp_path, "random", 0.1, 0)) == 80


def test_without_names_the_split_is_random(tmp_path):
    write_conic(tmp_path, 12)
    with pytest.raises(
        InputError, match=r"patch_info\.csv: this file is missing, .* choose split_rule random"
    ) as error:
        conic(tmp_path)
    assert str(error.value).count("\n") == 0
    items = conic(tmp_path, split_rule="random")
    assert sorted(item["id"] for item in items) == [f"{number:02}" for number in range(12)]
    assert all(int(item["id"]) == item["index"] and item["source"] == item["id"] for item in items)


def test_names_without_a_number_are_split_at_random_only(tmp_path):
    write_conic(tmp_path, ["left", "right", "a-1", "b-1"])
    with pytest.raises(InputError, match=r"'left' is not the name of an image and a number"):
        conic(tmp_path)
    assert {item["id"] for item in conic(tmp_path, "random")} == {"left", "right", "a-1", "b-1"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("patch_info\na-1\n", "1 names for 15 patches"),
        ("name\n" + "a-1\n" * 15, "no column patch_info"),
        ("patch_info\n" + "a-1\n" * 15, "row 3 names a-1, which is there already"),
        ("patch_info,b\n" + "".join(f"a-{number},\n" for number in range(14)) + ",x\n", "row 16 is empty"),
        ("", "cannot be read"),
    ],
)
def test_table_that_does_not_fit(root, text, sentence):
    (root / "patch_info.csv").write_text(text)
    with pytest.raises(InputError, match=rf"patch_info\.csv: .*{sentence}"):
        conic(root)


def test_missing_files_and_folder(root):
    with pytest.raises(InputError, match="no such folder; name the one that holds CoNIC's"):
        conic(root / "none")
    for name in ("labels.npy", "images.npy"):
        (root / name).unlink()
        with pytest.raises(InputError, match=rf"{name}: there is no such file"):
            conic(root)


@pytest.mark.parametrize(
    ("name", "shape", "kind", "sentence"),
    [
        ("images", (15, *SIZE), np.uint8, "tiles have"),
        ("images", (15, *SIZE, 3), np.float32, "tiles have"),
        ("images", (0, *SIZE, 3), np.uint8, "tiles have"),
        ("labels", (15, *SIZE, 3), np.int16, "labels have"),
        ("labels", (15, *SIZE, 2), np.float64, "labels have"),
        ("labels", (14, *SIZE, 2), np.int16, "labels are 14 × 12 × 16 and images.npy is 15 × 12 × 16"),
        ("labels", (15, 12, 12, 2), np.uint16, "labels are 15 × 12 × 12 and"),
    ],
)
def test_arrays_of_another_form(root, name, shape, kind, sentence):
    np.save(root / f"{name}.npy", np.zeros(shape, kind))
    with pytest.raises(InputError, match=rf"{name}\.npy: .*{sentence}"):
        conic(root)


def test_real_patches(real_data):
    folder = real_data / "consep_conic_layout"
    items = conic(folder)
    assert len(items) == 108
    assert len({item["source"] for item in items}) == 27
    labels = np.load(folder / "labels.npy")
    for item in items:
        nuclei = read_nuclei(item["label"], CONSEP, (256, 256), item["index"])
        assert (nuclei == labels[item["index"]]).all()
    shares = [float((labels[..., 1] == number).mean()) for number in range(5)]
    assert class_frequencies(items, CONSEP) == pytest.approx(shares, abs=1e-12)
    assert (
        sum(
            len({item["source"] for item in items if item["split"] == split})
            for split in ("training", "validation", "test")
        )
        == 27
    )
