"""Photos and masks shrink for the network as they should, and predictions come back bilinearly."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, NormalizeIntensityd, Resize
from PIL import Image

from tinylesions.transforms import FieldOfViewMaskd, LoadPhotod, ResizeLongestSided, ResizeToSized

RNG = np.random.default_rng(0)
CASES = [  # height, width, longest side: whole, odd and broken factors, equal size, enlarging
    (24, 40, 10),
    (24, 40, 20),
    (37, 23, 11),
    (29, 31, 30),
    (24, 40, 40),
    (9, 14, 28),
    (9, 14, 37),
    (13, 13, 14),
]


def covered(new: int, old: int) -> list[tuple[int, int]]:
    """First and last old pixel that each new one covers, even in part."""
    return [(math.floor(i * old / new), math.ceil((i + 1) * old / new)) for i in range(new)]


def blocks(image: np.ndarray, size: tuple[int, int]) -> list[list[np.ndarray]]:
    rows, columns = covered(size[0], image.shape[1]), covered(size[1], image.shape[2])
    return [[image[:, top:bottom, left:right] for left, right in columns] for top, bottom in rows]


def resized(image, longest_side: int, mode: str) -> torch.Tensor:
    return ResizeLongestSided("image", longest_side, mode)({"image": image})["image"]


@pytest.mark.parametrize(("height", "width", "longest_side"), CASES)
@pytest.mark.parametrize("mode", ["area", "max"])
def test_size_is_monais(height, width, longest_side, mode):
    image = torch.zeros(1, height, width, dtype=torch.uint8)
    expected = Resize(longest_side, size_mode="longest")(image).shape
    assert resized(image, longest_side, mode).shape == expected


def test_the_papers_size():
    small = resized(torch.zeros(1, 2848, 4288, dtype=torch.uint8), 1072, "max")
    assert small.shape == (1, 712, 1072)


@pytest.mark.parametrize(("height", "width", "longest_side"), CASES)
def test_area_against_a_loop(height, width, longest_side):
    image = RNG.integers(0, 256, (3, height, width), dtype=np.uint8)
    small = resized(image, longest_side, "area")
    assert small.dtype == torch.float32
    if longest_side <= max(height, width):
        means = [[block.mean(axis=(1, 2)) for block in row] for row in blocks(image, small.shape[1:])]
        expected = np.moveaxis(np.array(means), -1, 0)
    else:
        resize = Resize(longest_side, size_mode="longest", mode="bilinear", align_corners=False)
        expected = resize(image.astype(np.float32)).numpy()
    np.testing.assert_allclose(small.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(("height", "width", "longest_side"), CASES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_max_against_a_loop(height, width, longest_side, dtype):
    mask = RNG.integers(0, 5, (2, height, width)).astype(dtype)
    small = resized(mask, longest_side, "max")
    if longest_side <= max(height, width):
        largest = [[block.max(axis=(1, 2)) for block in row] for row in blocks(mask, small.shape[1:])]
        expected = np.moveaxis(np.array(largest), -1, 0)
    else:
        expected = Resize(longest_side, size_mode="longest", mode="nearest")(mask).numpy()
    np.testing.assert_array_equal(small.numpy(), expected)
    assert small.numpy().dtype == dtype


def test_every_single_pixel_lesion_survives():
    """At any size: the shrunk pixel over its centre is lesion, and no pixel that does not touch it."""
    for _ in range(300):
        height, width = RNG.integers(5, 60, 2).tolist()
        y, x = int(RNG.integers(height)), int(RNG.integers(width))
        mask = torch.zeros(1, height, width, dtype=torch.uint8)
        mask[0, y, x] = 1
        small = resized(mask, int(RNG.integers(4, 90)), "max")
        assert small.dtype == torch.uint8
        places = small.nonzero()
        assert len(places) > 0
        for place in places.tolist():
            for new, old, here, size in zip(place[1:], (y, x), small.shape[1:], (height, width), strict=True):
                assert new * size / here < old + 1
                assert (new + 1) * size / here > old
        if max(small.shape) <= max(mask.shape):
            centre = [
                int((old + 0.5) * new / size)
                for old, new, size in zip((y, x), small.shape[1:], (height, width), strict=True)
            ]
            assert [0, *centre] in places.tolist()


def test_photo_of_that_size_is_unchanged():
    photo = MetaTensor(torch.randint(0, 256, (3, 24, 40), dtype=torch.uint8))
    mask = torch.randint(0, 2, (1, 24, 40), dtype=torch.uint8)
    small = ResizeLongestSided(["image", "label"], 40, ["area", "max"])({"image": photo, "label": mask})
    assert torch.equal(small["image"].as_tensor(), photo.as_tensor().float())
    assert torch.equal(small["label"].as_tensor(), mask)
    assert small["image"].dtype == torch.float32
    assert small["label"].dtype == torch.uint8


def test_input_is_left_alone_and_the_affine_scales():
    photo = MetaTensor(torch.rand(3, 24, 40), affine=torch.eye(3), meta={"filename_or_obj": "eye.jpg"})
    before = photo.clone()
    small = resized(photo, 20, "area")
    assert torch.equal(photo.as_tensor(), before.as_tensor())
    assert photo.applied_operations == []
    assert small.meta["filename_or_obj"] == "eye.jpg"
    # one new pixel is two old ones wide, and its centre lies half an old pixel further
    assert small.affine.tolist() == [[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]]


def back_to_full(resize: ResizeLongestSided, small: dict, prediction: torch.Tensor) -> torch.Tensor:
    pipeline = Compose([resize])
    inverse = Invertd("pred", transform=pipeline, orig_keys="image", nearest_interp=False)
    return inverse(small | {"pred": MetaTensor(prediction)})["pred"]


@pytest.mark.parametrize("mode", ["area", "max"])
@pytest.mark.parametrize(("height", "width", "longest_side"), CASES)
def test_inverse_is_bilinear(height, width, longest_side, mode):
    resize = ResizeLongestSided("image", longest_side, mode)
    small = Compose([resize])({"image": MetaTensor(torch.rand(3, height, width), affine=torch.eye(3))})
    prediction = torch.rand(2, *small["image"].shape[1:])
    full = back_to_full(resize, small, prediction)
    expected = torch.nn.functional.interpolate(
        prediction[None], size=(height, width), mode="bilinear", align_corners=False
    )[0]
    assert full.shape == (2, height, width)
    torch.testing.assert_close(full.as_tensor(), expected)
    torch.testing.assert_close(full.affine, torch.eye(3, dtype=torch.float64))
    assert full.applied_operations == []


@pytest.mark.parametrize("longest_side", [60, 100, 71])
def test_a_smooth_map_comes_back_at_its_place(longest_side):
    """A shift of half a pixel would move the peak by two full-size pixels and tilt the difference."""
    y, x = np.mgrid[:160, :240]
    centre = (83, 131)
    bump = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * 20.0**2)).astype(np.float32)
    resize = ResizeLongestSided("image", longest_side)
    small = Compose([resize])({"image": MetaTensor(torch.from_numpy(bump[None]))})
    full = back_to_full(resize, small, small["image"].as_tensor()).numpy()[0]
    assert np.abs(full - bump).max() < 0.02
    for index, axis in enumerate((y, x)):
        assert (full * axis).sum() / full.sum() == pytest.approx(centre[index], abs=0.1)


def test_inside_a_pipeline(tmp_path):
    y, x = np.mgrid[:120, :200]
    inside = (y - 60) ** 2 + (x - 90) ** 2 < 50**2
    photo = np.where(inside[..., None], RNG.integers(100, 200, (120, 200, 3)), 0).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "eye.png")
    pipeline = Compose(
        [
            LoadPhotod("image"),
            FieldOfViewMaskd("image"),
            ResizeLongestSided(["image", "field_of_view"], 50, ["area", "max"]),
            NormalizeIntensityd("image", channel_wise=True),
        ]
    )
    items = pipeline({"image": str(tmp_path / "eye.png")})
    assert items["image"].shape == (3, 30, 50)
    assert items["field_of_view"].shape == (1, 30, 50)
    torch.testing.assert_close(items["image"].mean(dim=(1, 2)).as_tensor(), torch.zeros(3), atol=1e-5, rtol=0)
    means = photo.reshape(30, 4, 50, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    expected = (means - means.mean(axis=(1, 2), keepdims=True)) / means.std(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(items["image"].numpy(), expected, atol=1e-4)
    prediction = MetaTensor(torch.rand(2, 30, 50))
    inverse = Invertd("pred", transform=pipeline, orig_keys="image", nearest_interp=False)
    assert inverse(items | {"pred": prediction})["pred"].shape == (2, 120, 200)


def test_plain_arrays_and_missing_keys():
    image = RNG.random((1, 12, 16), dtype=np.float32)
    small = resized(image, 8, "area")
    np.testing.assert_allclose(small.numpy()[0], image.reshape(6, 2, 8, 2).mean(axis=(1, 3)), rtol=1e-5)
    items = ResizeLongestSided(["image", "label"], 8, ["area", "max"], allow_missing_keys=True)({"image": image})
    assert list(items) == ["image"]
    with pytest.raises(KeyError):
        ResizeLongestSided(["image", "label"], 8)({"image": image})


def test_bad_arguments():
    with pytest.raises(ValueError, match="nearest"):
        ResizeLongestSided("image", 8, "nearest")
    with pytest.raises(ValueError, match="longest_side"):
        ResizeLongestSided("image", 0)


STRETCHES = [  # height, width, new size: both sides shrink, one of them, none, both grow, one grows and one shrinks
    (24, 40, (10, 16)),
    (37, 23, (11, 11)),
    (24, 40, (24, 9)),
    (24, 40, (24, 40)),
    (9, 14, (20, 33)),
    (9, 40, (16, 16)),
    (40, 9, (16, 16)),
]


def stretched(image, size: tuple[int, int], mode: str) -> torch.Tensor:
    return ResizeToSized("image", size, mode)({"image": image})["image"]


@pytest.mark.parametrize(("height", "width", "size"), STRETCHES)
def test_stretched_photo_against_one_side_after_the_other(height, width, size):
    """A matrix for each side: shares of what a pixel covers where it shrinks, a line between two where it grows."""

    def weights(new: int, old: int) -> np.ndarray:
        matrix = np.zeros((new, old))
        for row, (first, end) in enumerate(covered(new, old)):
            if new <= old:
                matrix[row, first:end] = 1 / (end - first)
            else:
                place = min(max((row + 0.5) * old / new - 0.5, 0), old - 1)
                below = min(int(place), old - 2)
                matrix[row, [below, below + 1]] = below + 1 - place, place - below
        return matrix

    image = RNG.integers(0, 256, (3, height, width), dtype=np.uint8)
    expected = weights(size[0], height) @ image @ weights(size[1], width).T
    small = stretched(image, size, "area")
    assert (small.shape, small.dtype) == ((3, *size), torch.float32)
    np.testing.assert_allclose(small.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(("height", "width", "size"), STRETCHES)
def test_stretched_mask_against_a_loop(height, width, size):
    mask = RNG.integers(0, 2, (2, height, width), dtype=np.uint8)

    def lasts(new: int, old: int) -> list[list[int]]:
        if new > old:
            return [[row * old // new] for row in range(new)]
        return [list(range(first, end)) for first, end in covered(new, old)]

    rows, columns = lasts(size[0], height), lasts(size[1], width)
    expected = np.array([[mask[:, row][:, :, column].max(axis=(1, 2)) for column in columns] for row in rows])
    small = stretched(mask, size, "max")
    assert small.dtype == torch.uint8
    np.testing.assert_array_equal(small.numpy(), np.moveaxis(expected, -1, 0))


@pytest.mark.parametrize(("height", "width", "size"), STRETCHES)
def test_stretched_prediction_comes_back_bilinearly(height, width, size):
    resize = ResizeToSized("image", size)
    small = Compose([resize])({"image": MetaTensor(torch.rand(3, height, width), affine=torch.eye(3))})
    factors = [height / size[0], width / size[1]]
    torch.testing.assert_close(small["image"].affine.diagonal()[:2], torch.tensor(factors, dtype=torch.float64))
    prediction = torch.rand(2, *size)
    full = back_to_full(resize, small, prediction)
    expected = torch.nn.functional.interpolate(prediction[None], size=(height, width), mode="bilinear")[0]
    torch.testing.assert_close(full.as_tensor(), expected)
    assert full.applied_operations == []


def test_stretched_in_one_list_with_its_mask():
    items = ResizeToSized(["image", "label"], [512, 512], ["area", "max"], allow_missing_keys=True)(
        {"image": torch.zeros(3, 284, 428, dtype=torch.uint8)}
    )
    assert items["image"].shape == (3, 512, 512)
    for size in ((8,), (8, 0), (8, 8, 8)):
        with pytest.raises(ValueError, match="spatial_size"):
            ResizeToSized("image", size)
    with pytest.raises(ValueError, match="bilinear"):
        ResizeToSized("image", (8, 8), "bilinear")


def test_blocks_of_the_reference_cover_the_photo():
    for old, new in ((40, 10), (37, 11), (31, 30)):
        ends = covered(new, old)
        assert (ends[0][0], ends[-1][1]) == (0, old)
        assert all(behind[1] >= ahead[0] for behind, ahead in pairwise(ends))
