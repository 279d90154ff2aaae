from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tinylesions.datasets.lesions import CLASSES, LESIONS
from tinylesions.transforms.overlay import PALETTE, draw_overlay

HEIGHT, WIDTH = 1200, 1800  # outlines are 2 pixels here
COUNTS = {"microaneurysm": 3, "haemorrhage": 1, "hard_exudate": 12, "soft_exudate": 0}


@pytest.fixture(scope="module")
def scene():
    """A round retina, photo of noise, one lesion of each kind, two of them touching, one at the frame's edge."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    field_of_view = (y - 600) ** 2 + (x - 800) ** 2 < 690**2
    photo = np.random.default_rng(0).integers(20, 80, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    photo[~field_of_view] = 0
    label_map = np.where(field_of_view, 0, CLASSES.index("black_background")).astype(np.uint8)
    for lesion, top, left, height, width in (
        ("microaneurysm", 300, 500, 1, 1),
        ("haemorrhage", 400, 700, 60, 40),
        ("hard_exudate", 460, 700, 20, 90),
        ("soft_exudate", 0, 800, 30, 50),
    ):
        label_map[top : top + height, left : left + width] = CLASSES.index(lesion)
    return photo, label_map, field_of_view


def is_lesion(label_map):
    return (label_map > 0) & (label_map < CLASSES.index("black_background"))


def has_colour(picture, lesion):
    return (picture == PALETTE[lesion]).all(axis=-1)


def test_lesions_stay_and_outlines_surround_them(scene):
    photo, label_map, field_of_view = scene
    before = photo.copy()
    overlay = draw_overlay(photo, label_map, field_of_view, COUNTS)
    assert overlay.shape == photo.shape
    assert overlay.dtype == np.uint8
    np.testing.assert_array_equal(photo, before)
    lesions = is_lesion(label_map)
    np.testing.assert_array_equal(overlay[lesions], photo[lesions])
    changed = (overlay != photo).any(axis=-1) & field_of_view
    distance = ndimage.distance_transform_edt(~lesions)
    assert changed[(distance > 0) & (distance <= 2) & field_of_view].all()
    assert not changed[distance >= 3].any()


@pytest.mark.parametrize("lesion", LESIONS)
def test_an_outline_has_its_lesions_colour(scene, lesion):
    photo, label_map, field_of_view = scene
    overlay = draw_overlay(photo, label_map, field_of_view, COUNTS)
    own = label_map == CLASSES.index(lesion)
    distance = ndimage.distance_transform_edt(~own)
    other = is_lesion(label_map) & ~own
    near = (distance > 0) & (distance <= 2) & field_of_view
    near &= ndimage.distance_transform_edt(~other) > 3
    assert near.any()
    assert has_colour(overlay, lesion)[near].all()
    assert not has_colour(overlay, lesion)[(distance > 3) & field_of_view].any()


def test_the_rarer_lesions_outline_lies_on_top():
    label_map = np.zeros((400, 400), dtype=np.uint8)
    label_map[20:40, 10:30] = CLASSES.index("hard_exudate")
    label_map[20:40, 31:50] = CLASSES.index("microaneurysm")
    retina = np.ones((400, 400), dtype=bool)
    overlay = draw_overlay(np.zeros((400, 400, 3), np.uint8), label_map, retina, dict.fromkeys(LESIONS, 0))
    assert has_colour(overlay, "microaneurysm")[20:40, 30].all()


def legend_box(overlay, photo, label_map):
    """Where the picture differs far from any lesion, as (top, left, bottom, right)."""
    far = ndimage.distance_transform_edt(~is_lesion(label_map)) > 5
    rows, columns = np.nonzero((overlay != photo).any(axis=-1) & far)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_legend_lies_in_a_free_corner(scene):
    photo, label_map, field_of_view = scene
    overlay = draw_overlay(photo, label_map, field_of_view, COUNTS)
    top, left, bottom, right = legend_box(overlay, photo, label_map)
    assert (bottom, right) == (HEIGHT, WIDTH)  # the retina comes nearer to the left corners
    assert not field_of_view[top:bottom, left:right].any()
    for lesion in LESIONS:
        assert has_colour(overlay[top:bottom, left:right], lesion).any()


def test_legend_prefers_the_bottom_left(scene):
    photo, label_map, field_of_view = (np.ascontiguousarray(array[:, ::-1]) for array in scene)
    overlay = draw_overlay(photo, label_map, field_of_view, COUNTS)
    _, left, bottom, _ = legend_box(overlay, photo, label_map)
    assert (bottom, left) == (HEIGHT, 0)


def test_legend_without_a_free_corner_covers_no_lesion_where_it_can(scene):
    photo, label_map, _ = scene
    label_map = label_map.copy()
    for corner in (np.s_[-300:, :300], np.s_[-300:, -300:], np.s_[:300, :300]):
        label_map[corner] = CLASSES.index("haemorrhage")
    overlay = draw_overlay(photo, label_map, np.ones_like(label_map), COUNTS)
    np.testing.assert_array_equal(overlay[is_lesion(label_map)], photo[is_lesion(label_map)])
    top, _, _, right = legend_box(overlay, photo, label_map)
    assert (top, right) == (0, WIDTH)


def test_legend_shows_the_counts(scene):
    photo, label_map, field_of_view = scene
    one = draw_overlay(photo, label_map, field_of_view, COUNTS)
    two = draw_overlay(photo, label_map, field_of_view, COUNTS | {"haemorrhage": 7})
    rows, columns = np.nonzero((one != two).any(axis=-1))
    assert rows.size > 0
    assert not field_of_view[rows, columns].any()


def test_legend_names_only_what_was_looked_for(scene):
    photo, label_map, field_of_view = scene
    red = {"microaneurysm": 3, "haemorrhage": 1}
    label_map = np.where(label_map == CLASSES.index("hard_exudate"), 0, label_map)
    label_map = np.where(label_map == CLASSES.index("soft_exudate"), 0, label_map).astype(np.uint8)
    two, four = (draw_overlay(photo, label_map, field_of_view, counts) for counts in (red, COUNTS))
    box, larger = legend_box(two, photo, label_map), legend_box(four, photo, label_map)
    assert box[0] > larger[0]  # two lines less
    legend = two[box[0] : box[2], box[1] : box[3]]
    shown = [lesion for lesion in LESIONS[:3] if has_colour(legend, lesion).any()]  # the fourth's white is also text
    assert shown == ["microaneurysm", "haemorrhage"]


def test_a_photo_smaller_than_the_legend():
    photo = np.zeros((20, 30, 3), dtype=np.uint8)
    empty = np.zeros((20, 30), dtype=np.uint8)
    assert draw_overlay(photo, empty, empty, COUNTS).shape == photo.shape


def test_sizes_that_differ():
    with pytest.raises(ValueError, match="one size"):
        draw_overlay(np.zeros((20, 30, 3), np.uint8), np.zeros((30, 20), np.uint8), np.zeros((20, 30)), COUNTS)
