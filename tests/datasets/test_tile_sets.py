"""Tiles of one data set, or of two of which one is tested on, and the splits of them."""

from __future__ import annotations

import shutil
import warnings

import pytest

from tinylesions.datasets import InputError, read_layout, read_tiles, select_tiles

from .layouts import write_conic, write_idrid, write_monusac

TESTING = "MoNuSAC Testing Data and Annotations"


def of(items: list[dict], split: str) -> list[str]:
    return [item["id"] for item in items if item["split"] == split]


@pytest.fixture
def root(tmp_path):
    return write_conic(tmp_path / "own", [f"a{image}-{number}" for image in range(10) for number in range(3)])


@pytest.mark.parametrize(
    "options", [{}, {"split_rule": "random", "validation_share": 0.2, "test_share": 0.3, "seed": 4}]
)
def test_one_data_set_is_read_as_its_layout(root, options):
    assert read_tiles("conic", root, **options) == read_tiles("conic", root, None, **options)
    assert read_tiles("conic", root, **options) == read_layout("conic", root, **options)


@pytest.mark.parametrize("rule", ["source", "random"])
@pytest.mark.parametrize("named", [True, False])
def test_another_data_set_is_tested_on_whole(root, tmp_path, rule, named):
    names = ["b1-0", "b1-1", "b2-0", "strange"]
    other = write_conic(tmp_path / "other", names if named else 4)
    options = {"split_rule": rule, "validation_share": 0.2, "seed": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items = read_tiles("conic", root, str(other), **options)
    assert of(items, "test") == (names if named else ["0", "1", "2", "3"])
    test = [item for item in items if item["split"] == "test"]
    assert [(item["image"], item["label"], item["index"]) for item in test] == [
        (str(other / "images.npy"), str(other / "labels.npy"), index) for index in range(4)
    ]
    own = [item for item in items if item["split"] != "test"]
    assert own == read_layout("conic", root, test_share=0, **options)
    assert len(of(items, "validation")) == 6
    for share in (0.0, 0.5, 7):  # of no effect
        assert read_tiles("conic", root, other, test_share=share, **options) == items


def test_the_official_test_folder_gives_way(tmp_path):
    root = write_monusac(tmp_path / "root", {f"p{number}": 2 for number in range(4)})
    write_monusac(root, {"t1": 1, "t2": 2}, TESTING)
    other = write_monusac(tmp_path / "other", {"q1": 1, "q2": 2})
    items = read_tiles("monusac", root, other)
    assert of(items, "test") == ["q1_1", "q2_1", "q2_2"]
    assert len(items) == 8 + 3
    assert len(of(items, "validation")) == 2
    # named itself, it is what it would have been
    same = read_tiles("monusac", root, root / TESTING)
    assert of(same, "test") == of(read_tiles("monusac", root), "test") == ["t1_1", "t2_1", "t2_2"]
    # of a test set, all folders
    assert of(read_tiles("monusac", other, root), "test") == [
        *(f"p{number}_{tile}" for number in range(4) for tile in (1, 2)),
        *("t1_1", "t2_1", "t2_2"),
    ]


def test_a_tile_in_both_is_refused(root, tmp_path):
    other = write_conic(tmp_path / "other", ["b1-0", "A3-1", "a4-0"])
    for folder, count, first in ((other, 2, "A3-1"), (root, 30, "a0-0")):
        with pytest.raises(InputError, match=f"{count} of its tiles have ids of .*, such as {first}: name the folder"):
            read_tiles("conic", root, folder)
    shutil.copytree(root, tmp_path / "copy")
    (tmp_path / "copy" / "patch_info.csv").unlink()
    (root / "patch_info.csv").unlink()
    with pytest.raises(InputError, match=r"30 of its tiles .*, such as 00.*a patch_info\.csv"):
        read_tiles("conic", root, tmp_path / "copy", split_rule="random")


def test_a_source_in_both_is_warned_of(root, tmp_path):
    other = write_conic(tmp_path / "other", ["b1-0", "a3-9"])
    with pytest.warns(UserWarning, match=f"^a3 is a source of tiles in {root} and in {other}$"):
        items = read_tiles("conic", root, other)
    assert of(items, "test") == ["b1-0", "a3-9"]


def test_lesions_are_no_tiles(tmp_path):
    folder = write_idrid(tmp_path, (1, 2), (55,))
    for test_dir in (None, folder):
        with pytest.raises(InputError, match="the layout 'idrid' holds no nuclei: choose conic, monusac"):
            read_tiles("idrid", folder, test_dir)


def test_tiles_of_a_split(root):
    items = read_tiles("conic", root)
    for split in ("training", "validation", "test"):
        assert select_tiles(items, split) == [item for item in items if item["split"] == split] != []


@pytest.mark.parametrize(
    ("split", "shares", "there", "remedy"),
    [
        ("validation", (0, 0.2), "training, test", ", or give a validation_share above 0"),
        ("test", (0.2, 0), "training, validation", ", or give a test_share above 0"),
        ("test", (0, 0), "training", ", or give a test_share above 0"),
        ("tset", (0.2, 0.2), "training, validation, test", ""),
    ],
)
def test_a_split_without_tiles_says_what_to_do(root, split, shares, there, remedy):
    items = read_tiles("conic", root, validation_share=shares[0], test_share=shares[1])
    choice = r"choose one of these \(validation_split in a training, split in an evaluation\)"
    with pytest.raises(
        InputError, match=f"^there is no tile for '{split}' \\(there are: {there}\\): {choice}{remedy}\\.$"
    ):
        select_tiles(items, split)
