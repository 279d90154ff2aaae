"""IDRiD's official layout is read as the paper splits it, and gaps in it are named."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tinylesions.datasets.check import check_datalist
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.idrid import IDRID_VALIDATION_IDS, idrid_segmentation

from .layouts import write_grey_mask, write_idrid, write_photo

MASKS = "A. Segmentation/2. All Segmentation Groundtruths/a. Training Set"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return write_idrid(tmp_path_factory.mktemp("idrid"), range(1, 55), range(55, 82))


@pytest.fixture
def small(tmp_path) -> Path:
    return write_idrid(tmp_path, (1, 2, 3, 5), (55,))


def counts(items: list[dict]) -> dict[str, int]:
    return dict(Counter(item["split"] for item in items))


@pytest.mark.parametrize("below", ["", "A. Segmentation"])
def test_whole_set_is_split_as_in_the_paper(whole, below):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items = idrid_segmentation(whole / below)
        assert counts(idrid_segmentation(whole, "54/27")) == {"training": 54, "test": 27}
        assert counts(idrid_segmentation(whole, "43/11/27")) == {"training": 43, "validation": 11, "test": 27}
    assert counts(items) == {"training": 40, "validation": 14, "test": 27}
    assert {item["id"] for item in items if item["split"] == "test"} == {f"IDRiD_{n}" for n in range(55, 82)}
    assert len({item["id"] for item in items}) == 81


def test_stored_validation_ids_are_the_seeded_draw():
    drawn = np.random.default_rng(11).choice(54, 14, replace=False) + 1
    assert tuple(f"IDRiD_{n:02}" for n in sorted(drawn)) == IDRID_VALIDATION_IDS


def test_items_name_the_present_lesions_only(whole):
    items = {item["id"]: item for item in idrid_segmentation(whole)}
    assert set(items["IDRiD_01"]["label"]) == {"microaneurysm", "haemorrhage"}
    assert list(items["IDRiD_06"]["label"]) == ["microaneurysm", "haemorrhage", "hard_exudate", "soft_exudate"]
    assert items["IDRiD_06"] == {
        "id": "IDRiD_06",
        "image": str(whole / "A. Segmentation/1. Original Images/a. Training Set/IDRiD_06.jpg"),
        "label": {
            "microaneurysm": str(whole / MASKS / "1. Microaneurysms/IDRiD_06_MA.tif"),
            "haemorrhage": str(whole / MASKS / "2. Haemorrhages/IDRiD_06_HE.tif"),
            "hard_exudate": str(whole / MASKS / "3. Hard Exudates/IDRiD_06_EX.tif"),
            "soft_exudate": str(whole / MASKS / "4. Soft Exudates/IDRiD_06_SE.tif"),
        },
        "optic_disc": str(whole / MASKS / "5. Optic Disc/IDRiD_06_OD.tif"),
        "split": "validation",
    }


def test_part_of_the_set_keeps_the_rule_and_warns_once(tmp_path):
    write_idrid(tmp_path, range(1, 21))
    with pytest.warns(UserWarning, match="16/4/0 photos for training/validation/test .* 40/14/27") as caught:
        items = idrid_segmentation(tmp_path)
    assert len(caught) == 1
    assert [item["id"][-2:] for item in items if item["split"] == "validation"] == ["02", "04", "06", "08"]
    with pytest.warns(UserWarning, match="20/0 photos for training/test .* 54/27"):
        assert counts(idrid_segmentation(tmp_path, "54/27")) == {"training": 20}


@pytest.mark.parametrize(
    ("numbers", "validation"),
    [
        ((3, 5, 7, 9, 10, 11, 12, 13), ["IDRiD_12", "IDRiD_13"]),  # 8 × 14/54 = 2.07
        ((2, 4, 6), ["IDRiD_06"]),
        ((7, 9), ["IDRiD_09"]),
        ((99, 100), ["IDRiD_100"]),
        ((2,), ["IDRiD_02"]),
    ],
)
def test_last_photos_validate_where_the_stored_ids_leave_a_split_empty(tmp_path, numbers, validation):
    write_idrid(tmp_path, numbers)
    with pytest.warns(UserWarning, match="where the paper has"):
        items = idrid_segmentation(tmp_path)
    assert [item["id"] for item in items if item["split"] == "validation"] == validation


@pytest.mark.filterwarnings("ignore:.*where the paper has")
def test_folder_and_file_names_may_differ_in_case(small):
    shutil.move(small / "A. Segmentation/1. Original Images", small / "A. Segmentation/1. original images")
    masks = small / MASKS / "1. Microaneurysms"
    shutil.move(masks / "IDRiD_01_MA.tif", masks / "IDRiD_01_ma.TIF")
    shutil.move(small / "A. Segmentation", small / "a. segmentation")
    items = {item["id"]: item for item in idrid_segmentation(small)}
    assert set(items) == {"IDRiD_01", "IDRiD_02", "IDRiD_03", "IDRiD_05", "IDRiD_55"}
    assert items["IDRiD_01"]["label"]["microaneurysm"].endswith("IDRiD_01_ma.TIF")


@pytest.mark.parametrize(
    "folder",
    [
        "1. Original Images",
        "1. Original Images/a. Training Set",
        "1. Original Images/b. Testing Set",
        "2. All Segmentation Groundtruths",
        "2. All Segmentation Groundtruths/a. Training Set",
        "2. All Segmentation Groundtruths/b. Testing Set",
        "2. All Segmentation Groundtruths/a. Training Set/4. Soft Exudates",
    ],
)
def test_missing_folder_is_named_with_the_layout(small, folder):
    shutil.rmtree(small / "A. Segmentation" / folder)
    with pytest.raises(InputError, match=r"missing; the official layout is \"A\. Segmentation/") as refusal:
        idrid_segmentation(small)
    assert str(small / "A. Segmentation" / folder) in str(refusal.value)


@pytest.mark.filterwarnings("ignore:.*where the paper has")
def test_optic_discs_may_be_missing(small):
    shutil.rmtree(small / MASKS / "5. Optic Disc")
    assert [item["id"] for item in idrid_segmentation(small) if "optic_disc" in item] == ["IDRiD_55"]


def test_mask_without_photo_and_doubles_are_refused(small):
    photos = small / "A. Segmentation/1. Original Images"
    extra = write_grey_mask(small / MASKS / "3. Hard Exudates/IDRiD_02_EX.png", np.eye(12, 16))
    with pytest.raises(InputError, match=r"IDRiD_02_EX\.png is a mask of the same lesion"):
        idrid_segmentation(small)
    extra.unlink()
    copy = write_photo(photos / "a. Training Set/IDRiD_02.png")
    with pytest.raises(InputError, match="same name"):
        idrid_segmentation(small)
    copy.unlink()
    leak = write_photo(photos / "b. Testing Set/IDRiD_02.jpg")
    with pytest.raises(InputError, match="IDRiD_02 is in the training and in the testing set"):
        idrid_segmentation(small)
    leak.unlink()
    (photos / "a. Training Set/IDRiD_03.jpg").unlink()
    with pytest.raises(InputError, match=r"IDRiD_03_MA.tif: this mask belongs to no photo"):
        idrid_segmentation(small)


def test_wrong_root_and_rule(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        idrid_segmentation(tmp_path / "none")
    with pytest.raises(InputError, match=r"1\. Original Images: this folder is missing"):
        idrid_segmentation(tmp_path)
    with pytest.raises(ValueError, match="split_rule"):
        idrid_segmentation(tmp_path, "50/31")


def test_folder_without_photos_is_refused(small):
    folder = small / "A. Segmentation/1. Original Images/a. Training Set"
    for photo in folder.iterdir():
        photo.unlink()
    (folder / "Thumbs.db").touch()
    with pytest.raises(InputError, match="no photo"):
        idrid_segmentation(small)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*where the paper has")
def test_real_photos_and_masks_pass_the_check(real_data):
    report = check_datalist(idrid_segmentation(real_data / "idrid"))
    assert report.problems == report.warnings == []
    frame = report.to_frame().set_index("id")
    assert (frame["height"] == 2848).all()
    assert (frame["width"] == 4288).all()
    # the non-zero values of official files, counted without this package
    assert frame.loc["IDRiD_01", ["microaneurysm", "haemorrhage", "hard_exudate", "soft_exudate"]].tolist() == [
        6941,
        35430,
        113286,
        0,
    ]
    assert frame.loc["IDRiD_03", "soft_exudate"] == 3318
