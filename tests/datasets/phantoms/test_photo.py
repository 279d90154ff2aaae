from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tinylesions.datasets.lesions import LESIONS
from tinylesions.datasets.phantoms import draw_fundus
from tinylesions.datasets.phantoms.lesions import plan_lesions
from tinylesions.datasets.phantoms.photo import compose, photo_geometry, random_grade

SIZE = (356, 536)


def field_of_view(photo: np.ndarray) -> np.ndarray:
    # Blood on dark retina may fall below the threshold in single pixels: fill the holes.
    return ndimage.binary_fill_holes(photo[..., 0] > 25)


def test_same_seed_and_size_give_identical_bytes() -> None:
    first, second, other = draw_fundus(3, SIZE), draw_fundus(3, SIZE), draw_fundus(4, SIZE)
    assert first.photo.tobytes() == second.photo.tobytes()
    assert first.grade == second.grade
    assert first.masks.keys() == second.masks.keys()
    assert all(np.array_equal(first.masks[lesion], second.masks[lesion]) for lesion in first.masks)
    assert np.array_equal(first.optic_disc, second.optic_disc)
    assert first.photo.tobytes() != other.photo.tobytes()


@pytest.mark.parametrize("size", [(192, 256), (300, 300), (357, 541), (400, 300), (712, 1072)])
def test_every_size_has_masks_of_its_shape_inside_its_field_of_view(size: tuple[int, int]) -> None:
    phantom = draw_fundus(11, size, grade=2)
    assert phantom.photo.shape == (*size, 3)
    assert phantom.photo.dtype == np.uint8
    view = field_of_view(phantom.photo)
    for lesion, mask in phantom.masks.items():
        assert lesion in LESIONS
        assert mask.shape == size
        assert mask.dtype == bool
        assert mask.any()
        assert view[mask].all()
    assert phantom.optic_disc.any()


def test_frame_is_black_and_the_circle_is_cut_flat_as_in_idrid() -> None:
    photo = draw_fundus(5, (712, 1072)).photo
    corner = photo[:60, :60].astype(float)
    assert 0 < corner.mean() < 5
    view = field_of_view(photo)
    # IDRiD: 69 % of the frame, from the first row to the last, 3400 of 4288 columns.
    assert 0.64 < view.mean() < 0.74
    assert view[2].any()
    assert view[-3].any()
    columns = np.flatnonzero(view.any(axis=0))
    assert np.ptp(columns) / 1072 == pytest.approx(3420 / 4288, abs=0.02)


def test_optic_disc_is_a_bright_disc_of_the_right_size() -> None:
    phantom = draw_fundus(8, (712, 1072), grade=0)
    width = 2 * np.sqrt(phantom.optic_disc.sum() / np.pi) / (0.8 * 1072)
    assert 0.13 < width < 0.19  # IDRiD's discs: 510 to 550 of 3420 pixels
    view = field_of_view(phantom.photo)
    green = phantom.photo[..., 1].astype(float)
    assert green[phantom.optic_disc].mean() > 1.2 * green[view & ~phantom.optic_disc].mean()


@pytest.mark.parametrize("seed", [0, 1])
def test_lesions_change_the_photo_inside_their_masks_and_hardly_outside(seed: int) -> None:
    size = (534, 804)
    geometry = photo_geometry(seed, size)
    lesions = plan_lesions(seed, geometry, grade=3)
    with_lesions, masks = compose(seed, geometry, lesions, new_vessels=False)
    without, none = compose(seed, geometry, [], new_vessels=False)
    assert none == {}
    difference = with_lesions.astype(int) - without
    strongest = np.abs(difference).max(axis=2)
    anywhere = np.any(list(masks.values()), axis=0)
    assert (strongest[anywhere] > 0).mean() > 0.97
    # Cotton wool fades out slowly; everything else within a few pixels.
    assert strongest[~ndimage.binary_dilation(anywhere, iterations=14)].max() <= 2
    assert strongest[~ndimage.binary_dilation(anywhere, iterations=3)].mean() < 0.05
    only = {lesion: mask & (sum(map(np.asarray, masks.values())) == 1) for lesion, mask in masks.items()}
    for lesion, sign in zip(LESIONS, (-1, -1, 1, 1), strict=True):
        assert sign * difference[..., 1][only[lesion]].mean() > 3, lesion


def test_exudates_are_yellow_and_soft_exudates_are_not() -> None:
    geometry = photo_geometry(1, (534, 804))
    lesions = plan_lesions(1, geometry, grade=3)
    with_lesions, masks = compose(1, geometry, lesions, new_vessels=False)
    without, _ = compose(1, geometry, [], new_vessels=False)
    gain = {lesion: (with_lesions[mask].astype(float) - without[mask]).mean(axis=0) for lesion, mask in masks.items()}
    yellow = {lesion: (red + green) / 2 - blue for lesion, (red, green, blue) in gain.items()}
    assert yellow["hard_exudate"] > 2 * yellow["soft_exudate"]
    assert gain["microaneurysm"][1] < gain["microaneurysm"][0]  # blood takes more green than red


def test_grade_none_draws_every_grade_but_mostly_2_to_4() -> None:
    shares = np.bincount([random_grade(seed) for seed in range(400)], minlength=5) / 400
    assert shares.min() > 0.04
    assert shares[2:].sum() > 0.7
    assert draw_fundus(9, (192, 288)).grade == random_grade(9)


def test_wrong_size_and_grade_are_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        draw_fundus(0, (100, 300))
    with pytest.raises(ValueError, match="grade is 5"):
        draw_fundus(0, SIZE, grade=5)


@pytest.mark.slow
def test_full_size() -> None:
    phantom = draw_fundus(2, grade=3)
    assert phantom.photo.shape == (2848, 4288, 3)
    assert phantom.photo.tobytes() == draw_fundus(2, grade=3).photo.tobytes()
    view = field_of_view(phantom.photo)
    assert all(view[mask].all() for mask in phantom.masks.values())
    labels, count = ndimage.label(phantom.masks["microaneurysm"], np.ones((3, 3)))
    diameters = 2 * np.sqrt(np.bincount(labels.ravel())[1:] / np.pi)
    assert count > 5
    assert 7 < diameters.min() < diameters.max() < 28
