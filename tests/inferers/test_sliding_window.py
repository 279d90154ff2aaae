"""The same map as MONAI's inferer, wherever a photo shows something."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from tinylesions.inferers import ForegroundSlidingWindowInferer

from .photos import lit, literal_map, monai_map, photo, small_network

NETWORK = small_network()


def ours(photos: torch.Tensor, network: Callable, roi_size: Sequence[int] | int, sw_batch_size: int = 5, **options):
    return ForegroundSlidingWindowInferer(roi_size, sw_batch_size, precision="float32", **options)(photos, network)


def assert_equal_inside(found: torch.Tensor, expected: torch.Tensor, photos: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert found.isfinite().all()
    inside = lit(photos)[:, None].expand_as(found)
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1e-5)


def test_it_is_monais_inferer():
    assert issubclass(ForegroundSlidingWindowInferer, SlidingWindowInferer)


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.3, 0.5, 0.75, (0.5, 0.1)], ids=str)
@pytest.mark.parametrize("roi_size", [16, (17, 12), (24, -1), (0, 20), 70], ids=str)
@pytest.mark.parametrize("size", [(61, 83), (64, 64)], ids=str)
def test_equal_inside_the_foreground(size, roi_size, overlap, mode):
    photos = photo(*size)
    options = {"overlap": overlap, "mode": mode}
    found = ours(photos, NETWORK, roi_size, **options)
    assert_equal_inside(found, monai_map(photos, NETWORK, roi_size, **options), photos)


@pytest.mark.parametrize("size", [(61, 83), (20, 83), (61, 23), (20, 23), (1, 40)], ids=str)
@pytest.mark.parametrize(
    "padding",
    [{}, {"padding_mode": "constant", "cval": -1.5}, {"padding_mode": "reflect"}, {"padding_mode": "replicate"}],
    ids=str,
)
def test_equal_for_windows_larger_than_the_photo(size, padding):
    roi_size = (33, 32) if size[0] > 1 or padding.get("padding_mode") != "reflect" else (1, 32)
    photos = photo(*size) + 0.1
    options = {"overlap": 0.5, "mode": "gaussian", **padding}
    found = ours(photos, NETWORK, roi_size, **options)
    assert_equal_inside(found, monai_map(photos, NETWORK, roi_size, **options), photos)


@pytest.mark.parametrize("sigma_scale", [0.25, (0.1, 0.4)])
def test_equal_with_another_gaussian(sigma_scale):
    options = {"overlap": 0.5, "mode": "gaussian", "sigma_scale": sigma_scale}
    assert_equal_inside(ours(photo(), NETWORK, 16, **options), monai_map(photo(), NETWORK, 16, **options), photo())


@pytest.mark.parametrize("overlap", [0.99, 0.9])
def test_equal_with_a_window_at_every_pixel(overlap):
    photos = photo(14, 17)
    assert_equal_inside(
        ours(photos, NETWORK, 8, overlap=overlap), monai_map(photos, NETWORK, 8, overlap=overlap), photos
    )


@pytest.mark.parametrize("sw_batch_size", [1, 3, 10_000, None])
def test_batches_of_any_size(sw_batch_size):
    found = ours(photo(), NETWORK, 16, sw_batch_size, overlap=0.5)
    assert_equal_inside(found, monai_map(photo(), NETWORK, 16, overlap=0.5), photo())


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
def test_photos_of_a_batch_have_their_own_foregrounds(mode):
    photos = torch.cat([photo(), photo(row=0, column=0), photo(radius=0.01), photo() * 0, photo() + 1])
    found = ours(photos, NETWORK, 16, overlap=0.5, mode=mode)
    assert_equal_inside(found, monai_map(photos, NETWORK, 16, overlap=0.5, mode=mode), photos)
    one_by_one = [ours(one[None], NETWORK, 16, overlap=0.5, mode=mode) for one in photos]
    torch.testing.assert_close(found, torch.cat(one_by_one), rtol=0, atol=1e-6)
    assert not found[3].any()


def test_all_foreground_is_monais_map_everywhere():
    photos = photo() - 1  # also below 0
    mask = torch.ones(1, 61, 83)
    inferer = ForegroundSlidingWindowInferer(16, overlap=0.5, mode="gaussian", precision="float32")
    expected = monai_map(photos, NETWORK, 16, overlap=0.5, mode="gaussian")
    torch.testing.assert_close(inferer(photos, NETWORK, foreground=mask), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("overlap", [0, 0.3, 0.5])
def test_outside_the_foreground_the_windows_that_ran_are_averaged(overlap, mode):
    photos = photo(row=0.3, column=0.3, radius=0.2)
    expected, windows = literal_map(photos, NETWORK, lit(photos)[0], (16, 12), overlap, mode, background=-9)
    inferer = ForegroundSlidingWindowInferer((16, 12), overlap=overlap, mode=mode, background=-9, precision="float32")
    assert inferer.plan(photos).windows == windows
    torch.testing.assert_close(inferer(photos, NETWORK), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "roi_size"), [((61, 83), (16, 24)), ((20, 83), 32), ((20, 23), 32)])
@pytest.mark.parametrize("overlap", [0, 0.3, 0.5])
def test_even_grid_equals_monais_where_that_is_even_and_is_close_elsewhere(size, roi_size, overlap):
    # a network that looks at one pixel at a time gives the same map on any grid
    pixelwise = torch.nn.Conv2d(3, 2, 1)
    photos = photo(*size)
    found = ours(photos, pixelwise, roi_size, overlap=overlap, grid="even")
    assert_equal_inside(found, monai_map(photos, pixelwise, roi_size, overlap=overlap), photos)
    photos = photo(48, 64)
    found = ours(photos, NETWORK, (16, 32), overlap=0.5, grid="even")
    assert_equal_inside(found, monai_map(photos, NETWORK, (16, 32), overlap=0.5), photos)


def test_a_mirrored_photo_gives_a_mirrored_map_where_the_grid_is_symmetric():
    def rows_only(windows: torch.Tensor) -> torch.Tensor:
        return windows.mean(3, keepdim=True) * windows

    photos = photo(48, 80)
    found = ours(photos, rows_only, 16, overlap=0.5, mode="gaussian")
    mirrored = ours(photos.flip(3), rows_only, 16, overlap=0.5, mode="gaussian")
    torch.testing.assert_close(mirrored.flip(3), found)


def test_photos_that_do_not_lie_row_by_row_in_memory():
    photos = photo()
    for strided in (
        photos.contiguous(memory_format=torch.channels_last),
        photos.transpose(2, 3).contiguous().transpose(2, 3),
        photos.expand(2, -1, -1, -1),
    ):
        assert_equal_inside(ours(strided, NETWORK, 16), monai_map(strided, NETWORK, 16), strided)


def test_nothing_given_is_changed():
    photos, mask = photo(), lit(photo()).float()
    before = photos.clone(), mask.clone()
    ForegroundSlidingWindowInferer(16)(photos, lambda windows: windows.mul_(2)[:, :2], foreground=mask)
    assert torch.equal(photos, before[0])
    assert torch.equal(mask, before[1])


def test_no_gradients_are_recorded():
    photos = photo().requires_grad_()
    assert not ours(photos, NETWORK, 16).requires_grad


@pytest.mark.parametrize("overlap", [-0.1, 1, (0.5, 1.2)])
def test_overlap_out_of_range_is_refused(overlap):
    with pytest.raises(ValueError, match=r"overlap is at least 0 and below 1, not"):
        ForegroundSlidingWindowInferer(16, overlap=overlap)


def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match="not 'odd'"):
        ForegroundSlidingWindowInferer(16, grid="odd")
    with pytest.raises(ValueError, match="median"):
        ForegroundSlidingWindowInferer(16, mode="median")


@pytest.mark.parametrize("sw_batch_size", [0, -1])
def test_a_batch_without_windows_is_refused(sw_batch_size):
    with pytest.raises(ValueError, match="sw_batch_size"):
        ForegroundSlidingWindowInferer(16, sw_batch_size)
