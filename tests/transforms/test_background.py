"""The background is the mean of the retina nearby, as scipy's filter gives it at full size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from tinylesions.datasets import InputError
from tinylesions.transforms import SubtractBackgroundd, subtract_background

SIZES = [(256, 320), (331, 243)]


def round_field(size: tuple[int, int], share: float = 0.45) -> np.ndarray:
    """(H, W) bool, of a circle about the middle."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.hypot(rows - size[0] / 2, columns - size[1] / 2) < share * min(size)


def smooth_photo(size: tuple[int, int]) -> np.ndarray:
    """(3, H, W) of 0 to 255: light that falls off to one side, waves that are wide, and a lesion."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    waves = np.stack([np.sin(columns / width) * np.cos(rows / width) for width in (13, 19, 25)])
    photo = 110 + 0.3 * columns - 0.2 * rows + 15 * waves
    photo[:, size[0] // 2 : size[0] // 2 + 6, size[1] // 3 : size[1] // 3 + 6] -= 40
    return photo


def literal(photo: np.ndarray, inside: np.ndarray, sigma: float, contrast: float) -> np.ndarray:
    """Normalised convolution, one channel after the other, on the photo itself."""
    pixels = sigma * max(inside.shape)
    weight = gaussian_filter(inside.astype(float), pixels, mode="constant")
    flat = []
    for channel in photo:
        mean = gaussian_filter(np.where(inside, channel, 0.0), pixels, mode="constant") / np.maximum(weight, 1e-9)
        flat.append(np.where(inside, np.clip(0.5 + contrast * (channel - mean) / 255, 0, 1), 0))
    return np.stack(flat)


def tensors(photo: np.ndarray, inside: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(photo).float(), torch.from_numpy(inside)[None].float()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("sigma", "contrast"), [(0.05, 3.0), (0.1, 2.0)])
def test_as_a_filter_at_full_size(size, sigma, contrast):
    photo, inside = smooth_photo(size), round_field(size)
    found = subtract_background(*tensors(photo, inside), sigma, contrast)
    expected = literal(photo, inside, sigma, contrast)
    assert found.dtype == torch.float32
    assert expected[:, inside].std() > 0.05
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=0.01)


def test_pigment_and_exposure_play_no_part():
    photo, inside = smooth_photo(SIZES[1]), round_field(SIZES[1])
    brighter = photo + np.array([30, -20, 45])[:, None, None]
    found = [subtract_background(*tensors(version, inside)) for version in (photo, brighter)]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5)
    retina = found[0][:, torch.from_numpy(inside)]
    assert ((retina > 0) & (retina < 1)).float().mean() > 0.9, "hardly anything is cut off"


def test_what_lies_outside_plays_no_part():
    photo, inside = smooth_photo(SIZES[0]), round_field(SIZES[0])
    lit = np.where(inside, photo, 255)
    found = subtract_background(*tensors(lit, inside))
    torch.testing.assert_close(found, subtract_background(*tensors(photo, inside)))
    assert not found[:, ~torch.from_numpy(inside)].any()
    # up to the rim, a plain retina is its own background
    flat = subtract_background(*tensors(np.where(inside, np.full_like(photo, 80), 255), inside))
    torch.testing.assert_close(flat, 0.5 * torch.from_numpy(inside).float().expand(3, -1, -1), rtol=0, atol=1e-5)


def test_of_bytes():
    photo, inside = smooth_photo(SIZES[0]).round(), round_field(SIZES[0])
    whole, mask = tensors(photo, inside)
    found = subtract_background(whole.to(torch.uint8), mask > 0)
    torch.testing.assert_close(found, subtract_background(whole, mask))


def test_the_transform():
    photo, inside = smooth_photo(SIZES[0]), round_field(SIZES[0])
    whole, mask = tensors(photo, inside)
    image = MetaTensor(whole, meta={"filename_or_obj": "eye.jpg"})
    image.applied_operations.append({"class": "FieldOfViewCropd"})
    data = {"image": image, "field_of_view": mask, "label": "kept"}
    found = SubtractBackgroundd("image", mask_key="field_of_view", sigma=0.1, contrast=2.0)(data)
    assert torch.equal(found["image"].as_tensor(), subtract_background(whole, mask, 0.1, 2.0))
    assert found["image"].meta["filename_or_obj"] == "eye.jpg"
    assert found["image"].applied_operations == image.applied_operations, "or the way back is not found"
    assert torch.equal(data["image"].as_tensor(), whole)
    assert (found["label"], found["field_of_view"]) == ("kept", mask)
    with pytest.raises(KeyError):
        SubtractBackgroundd("photo", mask_key="field_of_view")(data)
    assert torch.equal(
        SubtractBackgroundd(["image", "photo"], "field_of_view", 0.1, 2.0, allow_missing_keys=True)(data)["image"],
        found["image"],
    )


def test_an_empty_field_of_view():
    with pytest.raises(InputError, match="field of view is empty: leave the photo out"):
        SubtractBackgroundd("image")({"image": torch.ones(3, 9, 9), "foreground": torch.zeros(1, 9, 9)})
