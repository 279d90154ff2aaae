"""DRAC2022's official layout is read with one split for all lesions, and gaps in it are named."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tinylesions.datasets.drac import drac_segmentation, images_with, images_with_truth
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import OCTA_LESION_CODES, OCTA_LESIONS

from .layouts import DRAC_LESIONS, square, write_drac, write_grey_mask, write_grey_photo

IRMA, NPA, NV = OCTA_LESIONS
IMAGES = "A. Segmentation/1. Original Images"
MASKS = "A. Segmentation/2. Groundtruths/a. Training Set"
HELD = {"IRMA": 86, "NPA": 106, "NV": 35}  # of 109 training images (paper 002)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    rng = np.random.default_rng(0)
    holders = {code: set(rng.choice(109, count, replace=False).tolist()) for code, count in HELD.items()}
    training = {number + 1: [code for code in HELD if number in holders[code]] for number in range(109)}
    return write_drac(tmp_path_factory.mktemp("drac"), training, range(110, 175))


@pytest.fixture
def small(tmp_path) -> Path:
    return write_drac(
        tmp_path, {1: ("IRMA", "NPA"), 2: ("NPA", "NV"), 10: ("IRMA", "NPA", "NV"), 12: ("NPA",)}, (3, 11)
    )


@pytest.mark.parametrize("below", ["", "A. Segmentation"])
def test_whole_set_is_split_8_to_2_for_each_lesion(whole, below):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items = drac_segmentation(whole / below)
    splits = {split: [item for item in items if item["split"] == split] for split in ("training", "validation", "test")}
    assert len(splits["training"]) + len(splits["validation"]) == 109
    assert abs(len(splits["validation"]) - 109 / 5) <= 2
    for lesion, code in OCTA_LESION_CODES.items():
        held = [len(images_with(splits[split], lesion)) for split in ("training", "validation")]
        assert sum(held) == HELD[code]
        assert abs(held[1] - HELD[code] / 5) <= 2
    assert [item["id"] for item in splits["test"]] == [str(number) for number in range(110, 175)]
    for split in splits.values():
        assert [item["id"] for item in split] == sorted((item["id"] for item in split), key=int)
    assert items == [*splits["training"], *splits["validation"], *splits["test"]]


def test_split_follows_the_seed_and_not_the_folder(whole, tmp_path):
    def split(root: Path, **seed: int) -> dict[str, str]:
        return {item["id"]: item["split"] for item in drac_segmentation(root, **seed)}

    copy = shutil.copytree(whole, tmp_path / "copy")
    assert split(copy) == split(whole) == split(whole, seed=0)
    assert split(whole, seed=1) != split(whole)


def test_items_name_the_present_lesions_only(small):
    with pytest.warns(UserWarning, match="where the paper has"):
        items = {item["id"]: item for item in drac_segmentation(str(small))}
    split = items["2"].pop("split")
    assert split in ("training", "validation")
    assert items["2"] == {
        "id": "2",
        "image": str(small / IMAGES / "a. Training Set/2.png"),
        "label": {
            NPA: str(small / MASKS / "2. Nonperfusion Areas/2.png"),
            NV: str(small / MASKS / "3. Neovascularization/2.png"),
        },
    }
    assert items["11"] == {"id": "11", "image": str(small / IMAGES / "b. Testing Set/11.png"), "split": "test"}


def test_a_part_of_the_set_warns_once_and_validates_every_lesion(small):
    with pytest.warns(UserWarning, match="where the paper has") as caught:
        items = drac_segmentation(small)
    assert [str(warning.message) for warning in caught] == [
        f"{small / 'A. Segmentation'}: 4 training images, 2/4/2 of them with IRMA/NPA/NV, and 2 test images, where the"
        " paper has 109 training images, 86/106/35 of them with IRMA/NPA/NV, and 65 test images"
    ]
    for split in ("training", "validation"):
        for lesion in OCTA_LESIONS:
            assert images_with([item for item in items if item["split"] == split], lesion)


@pytest.mark.filterwarnings("ignore:.*where the paper has")
def test_the_testing_set_may_be_missing(small):
    shutil.rmtree(small / IMAGES / "b. Testing Set")
    assert Counter(item["split"] == "test" for item in drac_segmentation(small)) == {False: 4}


@pytest.mark.filterwarnings("ignore:.*where the paper has")
def test_folder_and_file_names_may_differ_in_case(small):
    shutil.move(small / MASKS / "3. Neovascularization", small / MASKS / "3. neovascularization")
    shutil.move(small / MASKS / "2. Nonperfusion Areas/12.png", small / MASKS / "2. Nonperfusion Areas/12.PNG")
    shutil.move(small / "A. Segmentation", small / "a. segmentation")
    items = {item["id"]: item for item in drac_segmentation(small)}
    assert items["12"]["label"][NPA].endswith("12.PNG")
    assert NV in items["2"]["label"]


@pytest.mark.parametrize(
    "folder", [IMAGES, f"{IMAGES}/a. Training Set", MASKS, *(f"{MASKS}/{name}" for name in DRAC_LESIONS.values())]
)
def test_missing_folder_is_named_with_the_layout(small, folder):
    shutil.rmtree(small / folder)
    with pytest.raises(InputError, match=r"missing; the official layout is \"A\. Segmentation/") as refusal:
        drac_segmentation(small)
    assert str(small / folder) in str(refusal.value)


def test_wrong_root_and_files(small, tmp_path):
    with pytest.raises(InputError, match="no such folder; name the one that holds DRAC2022"):
        drac_segmentation(tmp_path / "none")
    extra = write_grey_mask(small / MASKS / "1. Intraretinal Microvascular Abnormalities/3.png", square(1))
    with pytest.raises(InputError, match=r"3\.png: this mask belongs to no photo"):
        drac_segmentation(small)
    extra.unlink()
    leak = write_grey_photo(small / IMAGES / "b. Testing Set/2.png")
    with pytest.raises(InputError, match="2 is in the training and in the testing set"):
        drac_segmentation(small)
    leak.unlink()
    for image in (small / IMAGES / "b. Testing Set").iterdir():
        image.unlink()
    with pytest.raises(InputError, match=r"b\. Testing Set: no photo"):
        drac_segmentation(small)


@pytest.mark.filterwarnings("ignore:.*where the paper has")
def test_images_with_a_lesion(small):
    items = drac_segmentation(small)
    assert {item["id"] for item in images_with(items, NV)} == {"2", "10"}
    assert images_with(items, NPA) == [item for item in items if item["split"] != "test"]
    with pytest.raises(InputError, match=r"no image has a mask of neovascularisation \(NV\): add"):
        images_with([item for item in items if item["split"] == "test"], NV)
    with pytest.raises(InputError, match=r"no lesion 'NV' in OCTA images: .* neovascularisation \(NV\)"):
        images_with(items, "NV")


@pytest.mark.filterwarnings("ignore:.*where the paper has")
@pytest.mark.parametrize("split", ["training", "validation"])
def test_images_with_truth_hold_a_lesion_or_none(tmp_path, split):
    lesions: dict[int, tuple[str, ...]] = {number: ("IRMA", "NPA", "NV")[: number % 4] for number in range(1, 21)}
    items = drac_segmentation(write_drac(tmp_path, lesions, (30,)))
    found = images_with_truth(items, split)
    assert found == [item for item in items if item["split"] == split]
    assert {len(item["label"]) for item in found} == {0, 1, 2, 3}


@pytest.mark.filterwarnings("ignore:.*where the paper has")
def test_hidden_truth_cannot_be_scored(small):
    items = drac_segmentation(small)
    sentence = r"^images of 'test' have no masks to score, .*: choose another split, or write .* drac_submission\.$"
    with pytest.raises(InputError, match=sentence):
        images_with_truth(items, "test")
    partly = [item if item["id"] == "11" else {**item, "label": {}, "split": "test"} for item in items]
    with pytest.raises(InputError, match=sentence):
        images_with_truth(partly, "test")
    with pytest.raises(InputError, match=r"no photo for 'test' \(it has: training, validation\)"):
        images_with_truth([item for item in items if item["split"] != "test"], "test")
