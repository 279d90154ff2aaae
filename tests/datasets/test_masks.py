"""Masks of every official form are read alike; those that would train on wrong labels are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import LESIONS, OCTA_LESIONS
from tinylesions.datasets.masks import lesions_of, read_mask, read_masks


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).random((20, 30)) < 0.1


def save(array: np.ndarray, path: Path, palette: list[int] | None = None, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    if palette:
        image.putpalette(palette)
    (image.convert(mode) if mode else image).save(path)
    return path


def forms(truth: np.ndarray) -> dict[str, dict]:
    one = truth.astype(np.uint8)
    return {
        "idrid.tif": {"array": one, "palette": [0, 0, 0, 255, 0, 0]},
        "black_palette.png": {"array": one, "palette": [0, 0, 0, 0, 0, 0]},
        "numbered_backwards.png": {"array": 1 - one, "palette": [255, 255, 255, 0, 0, 0]},
        "ddr.tif": {"array": one * 255},
        "faint.png": {"array": one},
        "one_bit.tif": {"array": one * 255, "mode": "1"},
        "deep.png": {"array": one.astype(np.uint16) * 65535},
        "deep_faint.tif": {"array": one.astype(np.uint16)},
        "grey_rgb.png": {"array": np.dstack([one * 255] * 3)},
        "red_rgb.tif": {"array": np.dstack([one * 128, one * 0, one * 0])},
        "coloured_rgb.bmp": {"array": np.dstack([one * 10, one * 200, one * 30])},
    }


@pytest.mark.parametrize("name", forms(np.zeros((1, 1), bool)))
def test_every_form_gives_the_same_mask(tmp_path, truth, name):
    mask = read_mask(save(path=tmp_path / name, **forms(truth)[name]), (20, 30))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, truth)


def refused(truth: np.ndarray) -> dict[str, tuple[dict, str]]:
    one = truth.astype(np.uint8) * 255
    grey = np.random.default_rng(1).integers(0, 256, truth.shape, dtype=np.uint8)
    opaque = np.full_like(one, 255)
    return {
        "idrid_81.tif": ({"array": np.dstack([one, one * 0, one * 0, opaque])}, "alpha channel .* 8-bit grey"),
        "empty_with_alpha.png": ({"array": np.dstack([one * 0] * 3 + [one])}, "alpha"),
        "grey_alpha.png": ({"array": np.dstack([one, opaque])}, "alpha"),
        "black.tif": ({"array": one * 0}, "all black; delete the file if the lesion is absent"),
        "black_rgb.png": ({"array": np.dstack([one * 0] * 3)}, "all black"),
        "smooth.png": ({"array": grey}, "several values"),
        "lossy.jpg": ({"array": one}, "several values"),
        "two_colours.png": ({"array": np.dstack([one, 255 - one, one * 0])}, "several values"),
        "three_in_palette.png": ({"array": grey % 3, "palette": [0, 0, 0, 255, 0, 0, 0, 255, 0]}, "several values"),
        "everywhere.png": ({"array": opaque}, "every pixel"),
        "other_size.tif": ({"array": one[:10]}, r"30 × 10 pixels and its photo 30 × 20"),
        "turned.tif": ({"array": one.T}, r"20 × 30 pixels and its photo 30 × 20"),
        "print.tif": ({"array": np.dstack([one] * 3), "mode": "CMYK"}, "colour space CMYK"),
    }


@pytest.mark.parametrize("name", refused(np.zeros((1, 1), bool)))
def test_wrong_masks_are_refused_in_one_sentence(tmp_path, truth, name):
    form, words = refused(truth)[name]
    path = save(path=tmp_path / name, **form)
    with pytest.raises(InputError, match=words) as refusal:
        read_mask(path, (20, 30))
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


def test_black_masks_are_accepted_where_the_data_set_ships_them(tmp_path):
    path = save(np.zeros((20, 30), np.uint8), tmp_path / "a.tif")
    assert not read_mask(path, (20, 30), allow_empty=True).any()


def test_unreadable_masks_are_refused(tmp_path, truth):
    path = save(truth.astype(np.uint8), tmp_path / "a.tif", [0, 0, 0, 255, 0, 0])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"mask .*(truncated|cut short)"):
        read_mask(path)
    with pytest.raises(InputError, match="no such mask"):
        read_mask(tmp_path / "none.tif")


def test_masks_are_stacked_in_the_order_of_the_lesions(tmp_path, truth):
    paths = {
        "hard_exudate": save(truth.astype(np.uint8) * 255, tmp_path / "ex.tif"),
        "microaneurysm": save((~truth).astype(np.uint8), tmp_path / "ma.tif", [0, 0, 0, 255, 0, 0]),
    }
    masks = read_masks(paths, (20, 30))
    assert masks.dtype == np.uint8
    nothing = np.zeros((20, 30))
    np.testing.assert_array_equal(masks, np.stack([~truth, nothing, truth, nothing]))
    assert read_masks({}, (20, 30)).shape == (4, 20, 30)


def test_only_the_named_lesions_are_read(tmp_path, truth):
    (tmp_path / "ex.tif").write_bytes(b"no image")
    paths = {
        "microaneurysm": save(truth.astype(np.uint8), tmp_path / "ma.tif", [0, 0, 0, 255, 0, 0]),
        "hard_exudate": tmp_path / "ex.tif",
    }
    masks = read_masks(paths, (20, 30), lesions=("haemorrhage", "microaneurysm"))
    np.testing.assert_array_equal(masks, np.stack([np.zeros((20, 30)), truth]))
    with pytest.raises(InputError, match=r"ex\.tif"):
        read_masks(paths, (20, 30))


def test_lesions_of_octa_images_are_read_from_any_two_values(tmp_path, truth):
    one = truth.astype(np.uint8)
    paths = {
        "neovascularisation": save(one * 255, tmp_path / "nv.png"),
        "intraretinal_microvascular_abnormality": save(1 - one, tmp_path / "irma.png"),
    }
    masks = read_masks(paths, (20, 30), lesions=OCTA_LESIONS)
    np.testing.assert_array_equal(masks, np.stack([~truth, np.zeros((20, 30)), truth]))
    np.testing.assert_array_equal(read_masks(paths, (20, 30), lesions=OCTA_LESIONS[2:]), truth[None])


@pytest.mark.parametrize(("lesion", "lesions"), [("neovascularisation", LESIONS), ("haemorrhage", OCTA_LESIONS[:1])])
def test_lesions_of_the_other_family_are_not_taken_for_absent_ones(tmp_path, truth, lesion, lesions):
    paths = {lesion: save(truth.astype(np.uint8), tmp_path / "a.png")}
    with pytest.raises(
        InputError, match=rf"a\.png: {lesion} is none of {lesions[0]}.*; use a data set and a bundle for"
    ):
        read_masks(paths, (20, 30), lesions=lesions)
    with pytest.raises(ValueError, match="some of"):
        read_masks(paths, (20, 30), lesions=(*lesions, lesion))


def test_misspelt_lesion_is_refused(tmp_path):
    with pytest.raises(InputError, match="'hemorrhage' is no lesion"):
        read_masks({"hemorrhage": tmp_path / "a.tif"}, (20, 30))
    with pytest.raises(InputError, match="'neovascularization' is no lesion; name it one of intraretinal"):
        read_masks({"neovascularization": tmp_path / "a.tif"}, (20, 30), lesions=OCTA_LESIONS)


def test_lesions_that_the_labels_name():
    def labels(*names: str) -> list[dict]:
        return [{"id": "graded"}, {"label": {}}, *({"label": {name: f"{name}.png"}} for name in names)]

    assert lesions_of(labels("soft_exudate", "microaneurysm", "soft_exudate")) == ["microaneurysm", "soft_exudate"]
    assert lesions_of(labels("vessel", "hard_exudate", "drusen")) == ["hard_exudate", "drusen", "vessel"]
    assert lesions_of(labels("vessel", *reversed(OCTA_LESIONS))) == [*OCTA_LESIONS, "vessel"]
    for names, sentence in (
        ((), "no photo of the data set has a mask"),
        (("haemorrhage", "nonperfusion_area"), r"nonperfusion_area\.png: nonperfusion_area is none of microaneurysm"),
        (("hemorrhage",), r"hemorrhage\.png: 'hemorrhage' is another word for haemorrhage; name it so"),
        (("overlay",), r"overlay\.png: 'overlay' is the name of something else"),
    ):
        with pytest.raises(InputError, match=sentence):
            lesions_of(labels(*names))
    with pytest.raises(InputError, match=r"labels\.npy: this file marks nuclei"):
        lesions_of([{"label": "labels.npy"}])
