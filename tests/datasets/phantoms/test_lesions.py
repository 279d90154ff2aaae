from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tinylesions.datasets.phantoms import draw_fundus
from tinylesions.datasets.phantoms.lesions import Lesion, grade_of, plan_lesions
from tinylesions.datasets.phantoms.photo import compose, photo_geometry

SIZE = (712, 1072)
DOT = Lesion("haemorrhage", "dot", (0.1, 0.1), 0.005, 1.0, 0.0, 0.5, 1)


def regrade(masks: dict[str, np.ndarray], centre: tuple[float, float]) -> int:
    """The rule again, from the masks alone; it cannot see new vessels."""
    if not masks:
        return 0
    if set(masks) == {"microaneurysm"}:
        return 1
    labels, count = ndimage.label(masks.get("haemorrhage", np.zeros(SIZE, bool)))
    centroids = np.array(ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))).reshape(-1, 2)
    below, right = centroids[:, 0] > centre[1], centroids[:, 1] > centre[0]
    counts = [np.sum((below == vertical) & (right == horizontal)) for vertical in (0, 1) for horizontal in (0, 1)]
    return 3 if min(counts) > 20 else 2


@pytest.mark.parametrize(("seed", "grade"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3)])
def test_grade_follows_from_the_masks(seed: int, grade: int) -> None:
    phantom = draw_fundus(seed, SIZE, grade)
    assert phantom.grade == grade
    assert regrade(phantom.masks, photo_geometry(seed, SIZE).centre) == grade


@pytest.mark.parametrize("grade", range(5))
def test_plan_has_the_grade_asked_for(grade: int) -> None:
    for seed in range(12):
        lesions = plan_lesions(seed, photo_geometry(seed, SIZE), grade)
        assert grade_of(lesions, new_vessels=grade == 4) == grade


def test_rule_at_its_borders() -> None:
    everywhere = [replace(DOT, centre=(x, y)) for x in (-0.1, 0.1) for y in (-0.1, 0.1) for _ in range(21)]
    assert grade_of(everywhere, new_vessels=False) == 3
    assert grade_of(everywhere[1:], new_vessels=False) == 2
    assert grade_of([DOT], new_vessels=False) == 2
    assert grade_of([replace(DOT, kind="microaneurysm")], new_vessels=False) == 1
    assert grade_of([replace(DOT, form="preretinal")], new_vessels=False) == 4
    assert grade_of([], new_vessels=False) == 0
    assert grade_of([], new_vessels=True) == 4


def test_grade_4_shows_new_vessels() -> None:
    # What differs from the same photo without new vessels is red and outside the lesions.
    geometry = photo_geometry(4, SIZE)
    new, _ = compose(4, geometry, [], new_vessels=True)
    old, _ = compose(4, geometry, [], new_vessels=False)
    change = new.astype(int) - old
    assert (change[..., 1] < -5).sum() > 300
    assert (change[..., 1] > 5).mean() < 0.001


def test_sizes_of_the_lesions() -> None:
    # In pixels of a photo of 4288×2848: microaneurysms 8..25 across, the rest as in IDRiD.
    ranges = {"microaneurysm": (8, 25), "haemorrhage": (28, 520), "hard_exudate": (7, 90), "soft_exudate": (64, 150)}
    for seed in range(8):
        for lesion in plan_lesions(seed, photo_geometry(seed, (2848, 4288)), grade=3):
            shortest, longest = ranges[lesion.kind]
            assert shortest <= 2 * lesion.radius * 3420 <= longest


def test_microaneurysms_stay_visible_in_small_photos() -> None:
    phantom = draw_fundus(2, (356, 536), grade=1)
    labels, count = ndimage.label(phantom.masks["microaneurysm"], np.ones((3, 3)))
    assert count >= 3
    assert np.bincount(labels.ravel())[1:].min() >= 4
    assert max(np.ptp(axis) for axis in np.nonzero(labels == 1)) >= 1


def test_smallest_photos_hold_every_grade() -> None:
    for seed in range(8):
        assert grade_of(plan_lesions(seed, photo_geometry(seed, (192, 256)), grade=3), new_vessels=False) == 3
