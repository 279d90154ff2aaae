"""Averages over an image's sizes: ramps stay ramps, and a literal loop gives the same."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from tinylesions.inferers import WholeImageInferer
from tinylesions.inferers.scales import average_scales, checked_scales

from .photos import photo, small_network

IMAGES = photo(64, 96)


def ramp(height: int, width: int) -> torch.Tensor:
    """Red grows downwards, green to the right, by 1 a pixel; (1, 3, height, width)."""
    rows, columns = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([rows, columns, torch.ones_like(rows)])[None]


@pytest.mark.parametrize("scale", [0.5, 0.66, 1.25, 2])
def test_nothing_moves(scale):
    """Half a pixel of misalignment would shift the ramp by half."""
    found = average_scales(lambda images: {0: images}, ramp(256, 320), (1, scale))[0]
    inside = (..., slice(16, -16), slice(16, -16))
    torch.testing.assert_close(found[inside], ramp(256, 320)[inside], atol=1e-2, rtol=0)


def test_sizes_that_a_network_sees():
    seen = []

    def forward(images: torch.Tensor) -> dict[int, torch.Tensor]:
        seen.append(tuple(images.shape[2:]))
        return {0: images}

    found = average_scales(forward, torch.rand(1, 3, 224, 160), (1.25, 1, 0.64, 0.01))
    assert seen == [(288, 192), (224, 160), (128, 96), (32, 32)]
    assert found[0].shape == (1, 3, 224, 160)


def test_mean_of_each_size_and_mirror_image():
    """Resized by Pillow, which shares no code with torch."""
    network = small_network()

    def resized(images: torch.Tensor, size: tuple[int, int], filter_: Image.Resampling) -> torch.Tensor:
        channels = [Image.fromarray(channel.numpy(), mode="F").resize(size[::-1], filter_) for channel in images[0]]
        return torch.stack([torch.tensor(list(channel.getdata())).view(size) for channel in channels])[None]

    with torch.no_grad():
        found = WholeImageInferer("float32", flips=[[], [1]], scales=[0.5, 1])(IMAGES, network)
        small = resized(IMAGES, (32, 64), Image.Resampling.BICUBIC)  # 48 is no multiple of 32
        expected = torch.zeros_like(found)
        for axes in ([], [3]):
            expected += network(IMAGES.flip(axes)).flip(axes) / 4
            expected += resized(network(small.flip(axes)).flip(axes), (64, 96), Image.Resampling.BILINEAR) / 4
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_smaller_maps_and_grades():
    def tasks(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"map": images[..., ::2, ::2], "grade": images.mean((2, 3))}

    inferer = WholeImageInferer("float32", scales=[0.5, 1])
    with torch.no_grad():
        found = inferer(ramp(128, 192), tasks)
    assert found["map"].shape == (1, 3, 64, 96)
    torch.testing.assert_close(found["grade"], torch.tensor([[63.5, 95.5, 1.0]]), rtol=1e-3, atol=0)


def test_its_own_size_alone_is_as_without():
    network = small_network()
    with torch.no_grad():
        assert torch.equal(
            WholeImageInferer("float32", scales=[1])(IMAGES, network), WholeImageInferer("float32")(IMAGES, network)
        )


@pytest.mark.parametrize("scales", [[], [1, 1.0], [0], [-1, 1], [float("nan")], [float("inf")]])
def test_what_is_no_scale(scales):
    with pytest.raises(ValueError, match="scales are numbers above 0, at least one and each once"):
        checked_scales(scales)
