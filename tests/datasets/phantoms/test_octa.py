from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score

from tinylesions.datasets.lesions import OCTA_LESIONS
from tinylesions.datasets.phantoms import OctaPhantom, draw_octa
from tinylesions.datasets.phantoms.octa import random_lesions
from tinylesions.datasets.phantoms.octa_retina import avascular_distance, octa_geometry

ABNORMALITY, NONPERFUSION, NEOVASCULARISATION = OCTA_LESIONS
SIZE = (384, 384)


@pytest.fixture(scope="module")
def phantoms() -> list[OctaPhantom]:
    return [draw_octa(SIZE, seed, OCTA_LESIONS) for seed in range(6)]


def pieces(mask: np.ndarray) -> list[np.ndarray]:
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return [labels == label for label in range(1, count + 1)]


def extent(mask: np.ndarray) -> int:
    return max(int(np.ptp(axis)) + 1 for axis in np.nonzero(mask))


def test_same_seed_gives_identical_bytes_whatever_the_global_state() -> None:
    np.random.seed(1)  # noqa: NPY002
    first = draw_octa((160, 192), 3)
    np.random.seed(2)  # noqa: NPY002
    second, other = draw_octa((160, 192), 3), draw_octa((160, 192), 4)
    assert first.image.tobytes() == second.image.tobytes()
    assert first.masks.keys() == second.masks.keys()
    assert all(np.array_equal(first.masks[lesion], second.masks[lesion]) for lesion in first.masks)
    assert first.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("size", [(128, 128), (129, 255), (400, 130), (512, 384)])
def test_every_size_has_the_lesions_asked_for(size: tuple[int, int]) -> None:
    for seed in range(3):
        phantom = draw_octa(size, seed, OCTA_LESIONS[::-1])
        assert phantom.image.shape == size
        assert phantom.image.dtype == np.uint8
        assert list(phantom.masks) == list(OCTA_LESIONS)
        for mask in phantom.masks.values():
            assert mask.shape == size
            assert mask.dtype == bool
            assert mask.sum() >= 10


def test_only_the_lesions_asked_for() -> None:
    assert draw_octa((128, 128), 0, []).masks == {}
    assert list(draw_octa((128, 128), 0, [NEOVASCULARISATION]).masks) == [NEOVASCULARISATION]
    assert list(draw_octa((128, 128), 7).masks) == random_lesions(7)


def test_lesions_are_as_frequent_as_in_the_set() -> None:
    drawn = [random_lesions(seed) for seed in range(1500)]
    shares = [np.mean([lesion in lesions for lesions in drawn]) for lesion in OCTA_LESIONS]
    assert shares == pytest.approx([86 / 109, 106 / 109, 35 / 109], abs=0.04)


def test_wrong_size_and_lesion_are_refused() -> None:
    for size in ((127, 128), (128, 100), (-5, 200)):
        with pytest.raises(ValueError, match="at least"):
            draw_octa(size)
    with pytest.raises(ValueError, match="'microaneurysm'"):
        draw_octa((128, 128), 0, ["microaneurysm"])


@pytest.mark.parametrize("lesion", OCTA_LESIONS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_lesion_changes_its_mask_and_hardly_anything_outside(lesion: str, seed: int) -> None:
    # Rows that the eye's movement displaces must take the mask along, or the change would lie beside it.
    others = [NONPERFUSION] if lesion == ABNORMALITY else []
    plain, phantom = draw_octa(SIZE, seed, others), draw_octa(SIZE, seed, [*others, lesion])
    mask = phantom.masks[lesion]
    change = phantom.image.astype(float) - plain.image
    near = ndimage.binary_dilation(mask, iterations=3)
    thin = np.abs(change[~near]) > 3
    assert thin.mean() < 0.002
    sign = -1 if lesion == NONPERFUSION else 1
    assert sign * change[mask].mean() > 8
    # Large vessels cross nonperfusion areas unchanged; elsewhere the mask changes nearly everywhere.
    assert (np.abs(change[mask]) > 0).mean() > 0.5


def test_nonperfusion_areas_have_a_sensible_size_and_spare_the_fovea() -> None:
    for seed in range(12):
        mask = draw_octa((256, 256), seed, [NONPERFUSION]).masks[NONPERFUSION]
        assert 0.01 < mask.mean() < 0.2
        assert not mask[avascular_distance(seed, octa_geometry(seed, (256, 256))) < 0].any()


def test_foveal_avascular_zone_is_dark_and_has_no_mask(phantoms: list[OctaPhantom]) -> None:
    for seed in range(len(phantoms)):
        image = draw_octa(SIZE, seed, []).image.astype(float)
        distance = avascular_distance(seed, octa_geometry(seed, SIZE))
        around = image[(distance > 2) & (distance < 20)].mean()
        assert image[distance < -4].mean() < 0.75 * around
        assert not any(mask[distance < -4].all() for mask in phantoms[seed].masks.values())


def test_microvascular_abnormalities_lie_on_the_borders_of_nonperfusion(phantoms: list[OctaPhantom]) -> None:
    for phantom in phantoms:
        lost = phantom.masks[NONPERFUSION]
        border = ndimage.binary_dilation(lost, iterations=3) & ~ndimage.binary_erosion(lost, iterations=5)
        assert all((piece & border).any() for piece in pieces(phantom.masks[ABNORMALITY]))


def test_sizes_of_the_lesions_in_a_full_image() -> None:
    phantom = draw_octa(seed=2, lesions=OCTA_LESIONS)
    assert phantom.image.shape == (1024, 1024)
    # Vessels of 10 to 40 pixels with the rim of their outline; two may touch.
    extents = [extent(piece) for piece in pieces(phantom.masks[ABNORMALITY])]
    assert min(extents) >= 8
    assert 12 <= np.median(extents) <= 48
    assert all(25 <= extent(piece) <= 110 for piece in pieces(phantom.masks[NEOVASCULARISATION]))


@pytest.mark.parametrize("lesion", OCTA_LESIONS)
def test_smoothed_brightness_alone_does_not_find_a_lesion(phantoms: list[OctaPhantom], lesion: str) -> None:
    sign, sigma = (-1, 4.0) if lesion == NONPERFUSION else (1, 2.0)
    scores = [sign * ndimage.gaussian_filter(phantom.image.astype(float), sigma) for phantom in phantoms]
    truth = np.stack([phantom.masks[lesion] for phantom in phantoms])
    precision = average_precision_score(truth.ravel(), np.stack(scores).ravel())
    assert 1.2 * truth.mean() < precision < 0.7


def test_without_nonperfusion_abnormalities_lie_off_the_fovea() -> None:
    for seed in range(8):
        mask = draw_octa((160, 160), seed, [ABNORMALITY]).masks[ABNORMALITY]
        assert mask.any()
        assert not mask[avascular_distance(seed, octa_geometry(seed, (160, 160))) < -2].any()
