"""Compression against Pillow's own files, and what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from tinylesions.transforms import RandJPEGd
from tinylesions.transforms.jpeg import jpeg_compressed


def noise(height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8))


def by_a_file(image: torch.Tensor, quality: int, path) -> np.ndarray:
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(path, quality=quality)
    with Image.open(path) as decoded:
        return np.asarray(decoded).transpose(2, 0, 1)


@pytest.mark.parametrize("quality", [1, 40, 95])
def test_bytes_are_those_of_a_file(quality, tmp_path):
    found = jpeg_compressed(noise(), quality)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.numpy(), by_a_file(noise(), quality, tmp_path / "photo.jpg"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_float_keeps_type_and_range(dtype, tmp_path):
    found = jpeg_compressed((noise() / 255).to(dtype), 60)
    assert found.dtype == dtype
    expected = by_a_file(noise(), 60, tmp_path / "photo.jpg") / 255
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3 if dtype == torch.float16 else 1e-6)


def test_values_beyond_the_range_are_cut_off():
    image = noise() / 255
    torch.testing.assert_close(
        jpeg_compressed(image * 1.2 - 0.1, 60), jpeg_compressed((image * 1.2 - 0.1).clip(0, 1), 60)
    )


def test_a_view_that_is_turned_round():
    image = noise().permute(0, 2, 1)
    assert torch.equal(jpeg_compressed(image, 60), jpeg_compressed(image.contiguous(), 60))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(4, 8, 8, dtype=torch.uint8), r"image \(3, H, W\), got \(4, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.int16), "int16"),
        (torch.full((3, 8, 8), 200.0), "up to 200"),
        (torch.full((3, 8, 8), torch.nan), "up to nan"),
    ],
)
def test_what_is_no_image_is_refused(image, words):
    with pytest.raises(ValueError, match=words):
        jpeg_compressed(image, 60)


def test_metadata_stays_and_the_input_too():
    image = MetaTensor(noise() / 255, affine=2 * torch.eye(3), meta={"filename_or_obj": "eye.jpg"})
    before = image.clone()
    found = RandJPEGd("image", 1.0).set_random_state(0)({"image": image, "id": "eye"})
    assert found["id"] == "eye"
    assert found["image"].meta["filename_or_obj"] == "eye.jpg"
    assert torch.equal(found["image"].affine, 2 * torch.eye(3, dtype=torch.float64))
    assert torch.equal(image, before)
    assert not torch.equal(found["image"], before)


def test_every_quality_is_drawn_and_no_other():
    image = noise(16, 16)
    known = {jpeg_compressed(image, quality).numpy().tobytes(): quality for quality in range(30, 81, 10)}
    compress = RandJPEGd("image", 1.0, quality=(49, 51)).set_random_state(0)
    expected = {jpeg_compressed(image, quality).numpy().tobytes() for quality in (49, 50, 51)}
    found = {compress({"image": image})["image"].numpy().tobytes() for _ in range(40)}
    assert found == expected
    assert found & set(known) == {jpeg_compressed(image, 50).numpy().tobytes()}


def test_how_often():
    compress = RandJPEGd("image", 0.3, quality=(10, 10)).set_random_state(0)
    changed = sum(not torch.equal(compress({"image": noise(16, 16)})["image"], noise(16, 16)) for _ in range(400))
    assert 90 < changed < 150  # of 400, five sigmas are 46


def test_the_same_seed_draws_the_same():
    first, second = (RandJPEGd("image", 0.5).set_random_state(3) for _ in range(2))
    for _ in range(10):
        assert torch.equal(first({"image": noise()})["image"], second({"image": noise()})["image"])


@pytest.mark.parametrize("quality", [(0, 50), (50, 40), (40, 96)])
def test_qualities_out_of_range(quality):
    with pytest.raises(ValueError, match="quality is two numbers"):
        RandJPEGd("image", quality=quality)
