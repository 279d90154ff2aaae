"""Averages over mirror images against numpy, one image after another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from tinylesions.inferers import ForegroundSlidingWindowInferer, WholeImageInferer
from tinylesions.inferers.flips import checked_flips

from .photos import disc, literal_map, photo, small_network

IMAGES = photo(60, 84)
ALL = [[], [0], [1], [0, 1]]
TURNS = {(): lambda a: a, (0,): np.flipud, (1,): np.fliplr, (0, 1): lambda a: np.rot90(a, 2)}


def turned(images: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Numpy's mirror image of each channel."""
    pictures = [[TURNS[axes](channel) for channel in image] for image in images.numpy()]
    return torch.from_numpy(np.ascontiguousarray(pictures))


def literal_mean(flips, network, images: torch.Tensor = IMAGES) -> torch.Tensor:
    with torch.no_grad():
        maps = [turned(network(turned(images, tuple(axes))), tuple(axes)) for axes in flips]
    return torch.stack(maps).mean(0)


@pytest.mark.parametrize("flips", [[[]], [[1]], [[], [1]], ALL])
def test_whole_image(flips):
    network = small_network()
    with torch.no_grad():
        found = WholeImageInferer("float32", flips=flips)(IMAGES, network)
    torch.testing.assert_close(found, literal_mean(flips, network), rtol=1e-5, atol=1e-6)
    plain = WholeImageInferer("float32")(IMAGES, network).detach()
    assert torch.equal(found, plain) == (flips == [[]])


@pytest.mark.parametrize("flips", [[[], [1]], ALL])
@pytest.mark.parametrize("size", [(20, 28), (100, 100)], ids=["windows", "padded"])
def test_each_window(flips, size):
    """As the plain inferer with a network that averages by itself; with an own foreground, too."""
    network = small_network()
    options = {"overlap": 0.5, "mode": "gaussian", "precision": "float32", "background": -9.0}
    foreground = disc(60, 84, 0.3, 0.3, 0.2)[None, None]
    inferer = ForegroundSlidingWindowInferer(size, 3, **options, flips=flips)
    found = inferer(IMAGES, network, foreground=foreground)
    plain = ForegroundSlidingWindowInferer(size, 3, **options)
    expected = plain(IMAGES, lambda windows: literal_mean(flips, network, windows), foreground=foreground)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert inferer.plan(IMAGES, foreground).windows == plain.plan(IMAGES, foreground).windows


def test_windows_against_a_loop():
    network = small_network()
    inferer = ForegroundSlidingWindowInferer((20, 28), 4, 0.5, precision="float32", flips=ALL)
    found = inferer(IMAGES, network)
    foreground = (IMAGES != 0).any(1)[0]
    expected, _ = literal_map(IMAGES, lambda window: literal_mean(ALL, network, window), foreground, (20, 28), 0.5)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_mirror_image_gives_the_mirror_image():
    network = small_network()
    inferer = WholeImageInferer("float32", flips=ALL)
    with torch.no_grad():
        found, mirrored = (inferer(images, network) for images in (IMAGES, IMAGES.flip(3)))
    torch.testing.assert_close(mirrored.flip(3), found, rtol=1e-5, atol=1e-6)


def test_a_grade_is_averaged_and_not_turned():
    network = small_network()

    def tasks(images: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = network(images)
        return {"segmentation": maps[..., ::2, ::2], "grade": maps[:, :, 3, 5]}

    with torch.no_grad():
        found = WholeImageInferer("float32", flips=[[], [0]])(IMAGES, tasks)
        upright, down = network(IMAGES), network(IMAGES.flip(2))
    torch.testing.assert_close(found["grade"], (upright[:, :, 3, 5] + down[:, :, 3, 5]) / 2, rtol=1e-5, atol=1e-6)
    expected = (upright[..., ::2, ::2] + down[..., ::2, ::2].flip(2)) / 2
    torch.testing.assert_close(found["segmentation"], expected, rtol=1e-5, atol=1e-6)


def test_reduced_precision_is_averaged_in_float32():
    with torch.no_grad():
        found = WholeImageInferer("bf16", flips=ALL)(IMAGES, small_network())
    windows = ForegroundSlidingWindowInferer((60, 84), precision="bf16", flips=ALL)(IMAGES, small_network())
    assert found.dtype == windows.dtype == torch.float32
    expected = literal_mean(ALL, small_network())
    for values in (found, windows):
        assert (values - expected).abs().max() < 2e-2 * expected.abs().max()


def test_operations_reach_the_output():
    images = MetaTensor(IMAGES, applied_operations=[{"class": "Resize"}])
    with torch.no_grad():
        found = WholeImageInferer("float32", flips=ALL)(images, small_network())
    assert found.applied_operations == [{"class": "Resize"}]


def test_gradients_are_of_all_images():
    network = small_network()
    images = IMAGES.clone().requires_grad_()
    WholeImageInferer("float32", flips=[[], [1]])(images, network)[0, 0, 30, 10].backward()
    assert images.grad[0, :, 28:33, 8:13].abs().sum() > 0
    plain = IMAGES.clone().requires_grad_()
    ((network(plain) + network(plain.flip(3)).flip(3)) / 2)[0, 0, 30, 10].backward()
    torch.testing.assert_close(images.grad, plain.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("flips", [[], [[2]], [[0], [0]], [[0, 0]], [[0, 1], [1, 0]], [[-1]]])
def test_flips_that_are_none(flips):
    with pytest.raises(ValueError, match="flips are some of"):
        checked_flips(flips)
    with pytest.raises(ValueError, match="flips are some of"):
        WholeImageInferer(flips=flips)
    with pytest.raises(ValueError, match="flips are some of"):
        ForegroundSlidingWindowInferer(8, flips=flips)
