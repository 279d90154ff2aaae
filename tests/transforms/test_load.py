"""Photos and masks are loaded rows first, upright, and bad files are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import Dataset, MetaTensor
from monai.transforms import Compose
from PIL import ExifTags, Image

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import LESIONS
from tinylesions.transforms import LoadLesionMasksd, LoadPhotod

HEIGHT, WIDTH = 24, 40
LOAD = Compose([LoadPhotod("image"), LoadLesionMasksd()])


def save_mask(path: Path, mask: np.ndarray) -> str:
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return str(path)


@pytest.fixture
def item(tmp_path) -> dict:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(tmp_path / "eye.png")
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2, 30] = True
    label = {"haemorrhage": save_mask(tmp_path / "eye_HE.png", mask)}
    return {"image": str(tmp_path / "eye.png"), "label": label, "id": "eye"}


def cause(error: BaseException | None) -> InputError:
    """MONAI wraps what a transform raises; the sentence for the user is among the causes."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    assert error is not None
    return error


def test_shape_dtype_values_and_metadata(item):
    loaded = LOAD(item)
    photo, masks = loaded["image"], loaded["label"]
    assert isinstance(photo, MetaTensor)
    assert isinstance(masks, MetaTensor)
    assert photo.dtype == masks.dtype == torch.uint8
    assert photo.shape == (3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(photo.numpy().transpose(1, 2, 0), np.asarray(Image.open(item["image"])))
    for tensor in (photo, masks):
        assert tensor.meta["filename_or_obj"] == item["image"]
        assert tuple(tensor.meta["spatial_shape"]) == (HEIGHT, WIDTH)
        assert tensor.is_contiguous()
    assert loaded["id"] == "eye"
    assert isinstance(item["image"], str)


def test_lesion_without_file_is_zeros_in_its_channel(item):
    masks = LOAD(item)["label"]
    assert masks.shape == (4, HEIGHT, WIDTH)
    assert masks.nonzero().tolist() == [[LESIONS.index("haemorrhage"), 2, 30]]
    assert not LOAD(item | {"label": {}})["label"].any()


@pytest.mark.parametrize("lesions", [("haemorrhage", "microaneurysm"), ("soft_exudate",)])
def test_only_the_lesions_looked_for_are_read_in_their_order(item, tmp_path, lesions):
    (tmp_path / "eye_EX.png").write_bytes(b"nobody opens me")
    item["label"] = item["label"] | {"hard_exudate": str(tmp_path / "eye_EX.png")}
    masks = Compose([LoadPhotod("image"), LoadLesionMasksd(lesions=lesions)])(item)["label"]
    assert masks.shape == (len(lesions), HEIGHT, WIDTH)
    expected = [[lesions.index("haemorrhage"), 2, 30]] if "haemorrhage" in lesions else []
    assert masks.nonzero().tolist() == expected
    with pytest.raises(RuntimeError) as caught:
        LOAD(item)
    assert "eye_EX.png" in str(cause(caught.value))


@pytest.mark.parametrize("lesions", [["hemorrhage"], ["haemorrhage", "haemorrhage"], []])
def test_lesions_that_cannot_be_loaded(lesions):
    with pytest.raises(ValueError, match="lesions are some of"):
        LoadLesionMasksd(lesions=lesions)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photo_and_its_masks_agree(tmp_path, item, orientation):
    """Masks are drawn on what a viewer shows, the upright photo."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    bright = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    bright[:8, :8] = 255
    Image.fromarray(bright).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    sideways = orientation >= 5
    size = (WIDTH, HEIGHT) if sideways else (HEIGHT, WIDTH)
    corner = {1: (0, 0), 2: (0, -8), 3: (-8, -8), 4: (-8, 0), 5: (0, 0), 6: (0, -8), 7: (-8, -8), 8: (-8, 0)}
    rows, columns = (slice(start, start + 8 or None) for start in corner[orientation])
    mask = np.zeros(size, bool)
    mask[rows, columns] = True
    label = {"hard_exudate": save_mask(tmp_path / "turned_EX.png", mask)}
    loaded = LOAD({"image": tmp_path / "turned.jpg", "label": label})
    assert loaded["image"].shape == (3, *size)
    lit = loaded["image"].float().mean(0) > 128
    assert torch.equal(lit.as_tensor(), loaded["label"][LESIONS.index("hard_exudate")].as_tensor() > 0)


def test_mask_of_another_size_names_file_and_both_sizes(item, tmp_path):
    item["label"] = {"haemorrhage": save_mask(tmp_path / "small_HE.png", np.eye(20))}
    with pytest.raises(RuntimeError) as caught:
        Dataset([item], LOAD)[0]
    sentence = str(cause(caught.value))
    assert "small_HE.png" in sentence
    assert "20 × 20" in sentence
    assert f"{WIDTH} × {HEIGHT}" in sentence


@pytest.mark.parametrize("allow_empty", [False, True])
def test_black_mask_is_accepted_only_where_allowed(item, tmp_path, allow_empty):
    item["label"] = {"haemorrhage": save_mask(tmp_path / "black_HE.png", np.zeros((HEIGHT, WIDTH)))}
    load = Compose([LoadPhotod("image"), LoadLesionMasksd(allow_empty=allow_empty)])
    if allow_empty:
        assert not load(item)["label"].any()
    else:
        with pytest.raises(RuntimeError) as caught:
            load(item)
        assert "black_HE.png" in str(cause(caught.value))


def test_missing_and_truncated_photo_are_named(item, tmp_path):
    (tmp_path / "cut.png").write_bytes(Path(item["image"]).read_bytes()[:300])
    for name in ("cut.png", "missing.png"):
        with pytest.raises(RuntimeError) as caught:
            Dataset([item | {"image": str(tmp_path / name)}], LOAD)[0]
        assert name in str(cause(caught.value))


GREY = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_grey_values_stay_as_they_are(tmp_path, mode):
    Image.fromarray(GREY).convert(mode).save(tmp_path / "octa.png")
    image = LoadPhotod("image", channels=1)({"image": tmp_path / "octa.png"})["image"]
    assert (image.shape, image.dtype) == ((1, HEIGHT, WIDTH), torch.uint8)
    np.testing.assert_array_equal(image[0].numpy(), GREY)
    assert image.is_contiguous()
    assert tuple(image.meta["spatial_shape"]) == (HEIGHT, WIDTH)


def test_sixteen_bits_become_the_same_grey_in_one_and_three_channels(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 256 + 255).save(tmp_path / "octa.png")
    for channels in (1, 3):
        image = LoadPhotod("image", channels=channels)({"image": tmp_path / "octa.png"})["image"]
        np.testing.assert_array_equal(image.numpy(), np.stack([GREY] * channels))


def test_colour_becomes_its_luminance(item):
    grey = LoadPhotod("image", channels=1)(item)["image"][0].numpy()
    red, green, blue = np.moveaxis(np.asarray(Image.open(item["image"])).astype(float), -1, 0)
    assert np.abs(grey - (0.299 * red + 0.587 * green + 0.114 * blue)).max() < 0.51


def test_no_other_number_of_channels():
    with pytest.raises(ValueError, match="1 or 3, got 2"):
        LoadPhotod("image", channels=2)


def test_missing_key():
    with pytest.raises(KeyError):
        LoadPhotod("image")({"photo": "a.jpg"})
    assert LoadPhotod("image", allow_missing_keys=True)({"id": "a"}) == {"id": "a"}
