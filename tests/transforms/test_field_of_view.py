"""The field of view is found on drawn and real photos, and a crop to it is undone exactly."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import Dataset, MetaTensor
from monai.transforms import Compose, Invertd
from PIL import Image
from skimage.filters import threshold_otsu

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.idrid import idrid_segmentation
from tinylesions.datasets.masks import read_masks
from tinylesions.datasets.photos import read_photo
from tinylesions.transforms import (
    FieldOfViewCropd,
    FieldOfViewMaskd,
    bounding_box,
    field_of_view_mask,
    otsu_box,
)

IDRID = "A. Segmentation/1. Original Images/a. Training Set/IDRiD_{:02}.jpg"


@pytest.fixture(scope="module")
def idrid() -> Path:
    folder = os.environ.get("TINYLESIONS_REAL_DATA")
    if not folder:
        pytest.skip("TINYLESIONS_REAL_DATA names no folder with real photos")
    return Path(folder) / "idrid"


def channels_first(path: Path | str) -> np.ndarray:
    return read_photo(path).transpose(2, 0, 1)


def disc(height: int, width: int, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - height / 2) ** 2 + (columns - width / 2) ** 2 <= radius**2


def photo_of(inside: np.ndarray, level: int = 120, noise: int = 9, seed: int = 0) -> np.ndarray:
    """A textured photo, with sensor noise of up to `noise` outside the field of view."""
    rng = np.random.default_rng(seed)
    lit = rng.integers(level - 30, level + 30, (3, *inside.shape))
    return np.where(inside, lit, rng.integers(0, noise + 1, (3, *inside.shape))).astype(np.uint8)


def intersection_over_union(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


@pytest.mark.parametrize(("height", "width"), [(300, 401), (1501, 2000), (713, 1000)])
def test_disc_cut_at_top_and_bottom(height, width):
    truth = disc(height, width, 0.42 * width)
    assert truth[0].any()
    assert truth[-1].any()
    found = field_of_view_mask(photo_of(truth))
    assert intersection_over_union(found, truth) > 0.99


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [((60, 80), slice(11, 50), slice(20, 61)), ((999, 1443), slice(100, 900), slice(20, 1400))],
)
def test_rectangle_is_found_to_the_pixel(size, rows, columns):
    """The larger photo is reduced by two, and its rectangle lies on that grid."""
    truth = np.zeros(size, bool)
    truth[rows, columns] = True
    np.testing.assert_array_equal(field_of_view_mask(photo_of(truth, noise=0)), truth)


def test_field_one_pixel_wide():
    truth = np.zeros((40, 40), bool)
    truth[5:35, 7] = True
    np.testing.assert_array_equal(field_of_view_mask(photo_of(truth, noise=0)), truth)


def test_lit_area_under_a_hundredth_of_the_frame_is_none():
    truth = np.zeros((100, 200), bool)
    truth[10:20, 10:29] = True
    assert not field_of_view_mask(photo_of(truth, noise=0)).any()


def test_dark_quadrant_and_dark_lesion_stay_inside():
    truth = disc(500, 600, 240)
    photo = photo_of(truth)
    photo[:, :250, :300] = np.where(truth[:250, :300], 16, 3)  # badly lit, above the low threshold
    photo[:, 300:340, 300:340] = 0  # a hole
    assert intersection_over_union(field_of_view_mask(photo), truth) > 0.99


def test_specks_far_from_the_field_are_ignored():
    truth = disc(400, 600, 150)
    photo = photo_of(truth)
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(0, 400, 60), rng.integers(0, 80, 60)
    photo[:, rows, columns] = 255
    clean = photo_of(truth)
    np.testing.assert_array_equal(field_of_view_mask(photo), field_of_view_mask(clean))


def test_one_channel_and_tensor_give_the_same_mask():
    grey = photo_of(disc(100, 120, 45))[:1]
    expected = field_of_view_mask(grey.repeat(3, 0))
    np.testing.assert_array_equal(field_of_view_mask(grey), expected)
    np.testing.assert_array_equal(field_of_view_mask(MetaTensor(torch.from_numpy(grey.copy()))), expected)


def test_float_photo_is_refused():
    with pytest.raises(TypeError, match="uint8"):
        field_of_view_mask(np.zeros((3, 8, 8), np.float32))


def test_black_photo_is_refused_by_name():
    black = MetaTensor(torch.full((3, 64, 64), 5, dtype=torch.uint8), meta={"filename_or_obj": "left_eye.jpg"})
    assert not field_of_view_mask(black).any()
    with pytest.raises(InputError, match=r"left_eye\.jpg has no field of view"):
        FieldOfViewMaskd("image")({"image": black})
    with pytest.raises(RuntimeError) as caught:
        Dataset([{"image": black}], Compose([FieldOfViewMaskd("image")]))[0]
    assert "left_eye.jpg" in str(input_error(caught.value))


def input_error(error: BaseException | None) -> InputError:
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    assert error is not None
    return error


def test_bounding_box():
    mask = np.zeros((9, 11), bool)
    mask[2, 7] = mask[5, 3] = True
    assert bounding_box(mask) == ((2, 3), (6, 8))
    with pytest.raises(ValueError, match="empty"):
        bounding_box(np.zeros((4, 4), bool))


@pytest.mark.parametrize("seed", range(5))
def test_otsu_box_against_scikit_image_on_the_photo(seed):
    rng = np.random.default_rng(seed)
    photo = photo_of(disc(211, 305, rng.uniform(50, 140)), level=int(rng.integers(60, 200)), noise=25, seed=seed)
    grey = np.asarray(Image.fromarray(photo.transpose(1, 2, 0)).convert("L"))
    assert otsu_box(photo) == bounding_box(grey > threshold_otsu(grey))


def test_otsu_box_of_one_grey_level_is_the_frame():
    assert otsu_box(np.full((3, 7, 5), 90, np.uint8)) == ((0, 0), (7, 5))


@pytest.mark.parametrize("method", ["otsu", "threshold"])
@pytest.mark.parametrize("size", [(101, 143), (100, 143), (64, 65)])
def test_invertd_puts_a_prediction_back(size, method):
    inside = disc(*size, 0.4 * size[0])
    photo = photo_of(inside)
    data = {"image": MetaTensor(torch.from_numpy(photo)), "label": MetaTensor(torch.from_numpy(photo[:1].copy()))}
    crop = Compose(
        [FieldOfViewMaskd("image"), FieldOfViewCropd(["image", "label", "field_of_view"], method=method)],
    )
    cropped = crop(data)
    box = otsu_box(photo) if method == "otsu" else bounding_box(field_of_view_mask(photo))
    rows, columns = (slice(*ends) for ends in zip(*box, strict=True))
    assert rows.stop - rows.start < size[0]
    np.testing.assert_array_equal(cropped["image"].numpy(), photo[:, rows, columns])
    np.testing.assert_array_equal(cropped["label"].numpy(), photo[:1, rows, columns])
    np.testing.assert_array_equal(cropped["field_of_view"].numpy()[0], field_of_view_mask(photo)[rows, columns])

    prediction = torch.rand(5, *cropped["image"].shape[1:]) + 0.1
    cropped["pred"] = MetaTensor(prediction)
    back = Invertd("pred", crop, orig_keys="image", nearest_interp=False)(cropped)["pred"]
    expected = torch.zeros(5, *size)
    expected[:, rows, columns] = prediction
    torch.testing.assert_close(back.as_tensor(), expected, rtol=0, atol=0)


def test_guard_takes_the_mask_box_where_otsu_cuts_the_field(caplog):
    inside = disc(400, 400, 180)
    photo = photo_of(inside)
    photo[:, :, :200] = np.where(inside[:, :200], 20, photo[:, :, :200])  # the left half is badly lit
    data = {"image": MetaTensor(torch.from_numpy(photo), meta={"filename_or_obj": "dark.jpg"})}
    data = FieldOfViewMaskd("image")(data)
    with caplog.at_level(logging.WARNING):
        guarded = FieldOfViewCropd("image")(data)["image"]
    assert "dark.jpg" in caplog.text
    (top, left), (bottom, right) = bounding_box(field_of_view_mask(photo))
    assert guarded.shape[1:] == (bottom - top, right - left)
    caplog.clear()
    plain = FieldOfViewCropd("image", guard=False)(data)["image"]
    assert plain.shape[2] < guarded.shape[2] * 0.6
    assert not caplog.records


def test_guard_is_silent_on_a_well_lit_photo(caplog):
    photo = photo_of(disc(200, 200, 90))
    FieldOfViewCropd("image")(FieldOfViewMaskd("image")({"image": MetaTensor(torch.from_numpy(photo))}))
    assert not caplog.records


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="otsu"):
        FieldOfViewCropd("image", method="triangle")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*photos for training:UserWarning")  # 20 of the 54
def test_real_lesions_stay_inside_mask_and_crop(idrid):
    """Figures of a photo's lesions: Otsu's own mask loses up to 88 % of them, its box with the guard none."""
    items = idrid_segmentation(idrid, "54/27")
    assert len(items) == 20
    crop = FieldOfViewCropd("label")
    for item in items:
        photo = channels_first(item["image"])
        masks = read_masks(item["label"], photo.shape[1:])
        field = field_of_view_mask(photo)
        for lesion, mask in zip(item["label"], masks[masks.any(axis=(1, 2))], strict=True):
            outside = mask[~field].sum() / mask.sum()
            assert outside <= 0.001, (item["id"], lesion, outside)
        data = {"image": photo, "label": MetaTensor(torch.from_numpy(masks)), "field_of_view": field[None]}
        assert crop(data)["label"].sum() == masks.sum(), item["id"]


def test_guard_warns_of_a_real_dark_photo(idrid, caplog):
    path = idrid / IDRID.format(4)
    photo = MetaTensor(torch.from_numpy(channels_first(path).copy()), meta={"filename_or_obj": str(path)})
    cropped = FieldOfViewCropd("image")(FieldOfViewMaskd("image")({"image": photo}))["image"]
    assert "IDRiD_04.jpg" in caplog.text
    (top, left), (bottom, right) = otsu_box(photo)
    assert cropped.shape[1] * cropped.shape[2] > (bottom - top) * (right - left) * 1.05
