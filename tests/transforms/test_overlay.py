from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.color import deltaE_ciede2000, rgb2lab

from tinylesions.datasets.lesions import CLASSES, LESIONS, OCTA_LESIONS, OVERLAP_PRIORITY
from tinylesions.transforms.lesion_colours import PALETTE, lesion_colours
from tinylesions.transforms.overlay import draw_overlay

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


def draw_map(photo, label_map, field_of_view, counts):
    """The overlay of lesions of which no two overlap."""
    return draw_overlay(photo, np.stack([label_map == CLASSES.index(name) for name in counts]), field_of_view, counts)


def has_colour(picture, lesion):
    return (picture == PALETTE[lesion]).all(axis=-1)


def test_lesions_stay_and_outlines_surround_them(scene):
    photo, label_map, field_of_view = scene
    before = photo.copy()
    overlay = draw_map(photo, label_map, field_of_view, COUNTS)
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
    overlay = draw_map(photo, label_map, field_of_view, COUNTS)
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
    overlay = draw_map(np.zeros((400, 400, 3), np.uint8), label_map, retina, dict.fromkeys(LESIONS, 0))
    assert has_colour(overlay, "microaneurysm")[20:40, 30].all()


def legend_box(overlay, photo, label_map):
    """Where the picture differs far from any lesion, as (top, left, bottom, right)."""
    far = ndimage.distance_transform_edt(~is_lesion(label_map)) > 5
    rows, columns = np.nonzero((overlay != photo).any(axis=-1) & far)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_legend_lies_in_a_free_corner(scene):
    photo, label_map, field_of_view = scene
    overlay = draw_map(photo, label_map, field_of_view, COUNTS)
    top, left, bottom, right = legend_box(overlay, photo, label_map)
    assert (bottom, right) == (HEIGHT, WIDTH)  # the retina comes nearer to the left corners
    assert not field_of_view[top:bottom, left:right].any()
    for lesion in LESIONS:
        assert has_colour(overlay[top:bottom, left:right], lesion).any()


def test_legend_prefers_the_bottom_left(scene):
    photo, label_map, field_of_view = (np.ascontiguousarray(array[:, ::-1]) for array in scene)
    overlay = draw_map(photo, label_map, field_of_view, COUNTS)
    _, left, bottom, _ = legend_box(overlay, photo, label_map)
    assert (bottom, left) == (HEIGHT, 0)


def test_legend_without_a_free_corner_covers_no_lesion_where_it_can(scene):
    photo, label_map, _ = scene
    label_map = label_map.copy()
    for corner in (np.s_[-300:, :300], np.s_[-300:, -300:], np.s_[:300, :300]):
        label_map[corner] = CLASSES.index("haemorrhage")
    overlay = draw_map(photo, label_map, np.ones_like(label_map), COUNTS)
    np.testing.assert_array_equal(overlay[is_lesion(label_map)], photo[is_lesion(label_map)])
    top, _, _, right = legend_box(overlay, photo, label_map)
    assert (top, right) == (0, WIDTH)


def test_legend_shows_the_counts(scene):
    photo, label_map, field_of_view = scene
    one = draw_map(photo, label_map, field_of_view, COUNTS)
    two = draw_map(photo, label_map, field_of_view, COUNTS | {"haemorrhage": 7})
    rows, columns = np.nonzero((one != two).any(axis=-1))
    assert rows.size > 0
    assert not field_of_view[rows, columns].any()


def test_legend_names_only_what_was_looked_for(scene):
    photo, label_map, field_of_view = scene
    red = {"microaneurysm": 3, "haemorrhage": 1}
    label_map = np.where(label_map == CLASSES.index("hard_exudate"), 0, label_map)
    label_map = np.where(label_map == CLASSES.index("soft_exudate"), 0, label_map).astype(np.uint8)
    two, four = (draw_map(photo, label_map, field_of_view, counts) for counts in (red, COUNTS))
    box, larger = legend_box(two, photo, label_map), legend_box(four, photo, label_map)
    assert box[0] > larger[0]  # two lines less
    legend = two[box[0] : box[2], box[1] : box[3]]
    shown = [lesion for lesion in LESIONS[:3] if has_colour(legend, lesion).any()]  # the fourth's white is also text
    assert shown == ["microaneurysm", "haemorrhage"]


def test_a_photo_smaller_than_the_legend():
    photo = np.zeros((20, 30, 3), dtype=np.uint8)
    empty = np.zeros((20, 30), dtype=np.uint8)
    assert draw_map(photo, empty, empty, COUNTS).shape == photo.shape


def test_sizes_that_differ():
    with pytest.raises(ValueError, match="one size"):
        draw_overlay(np.zeros((20, 30, 3), np.uint8), np.zeros((4, 30, 20), bool), np.zeros((20, 30)), COUNTS)
    with pytest.raises(ValueError, match="masks of 4 lesions"):
        draw_overlay(np.zeros((20, 30, 3), np.uint8), np.zeros((3, 20, 30), bool), np.zeros((20, 30)), COUNTS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("exclusive", [True, False])
def test_outlines_against_a_loop(seed, exclusive):
    """Lesion by lesion with scipy's dilation, the rarer ones last; far from the legend."""
    random = np.random.default_rng(seed)
    lesions = ("haemorrhage", "soft_exudate", "microaneurysm") if exclusive else OCTA_LESIONS
    masks = np.stack([ndimage.gaussian_filter(random.standard_normal((200, 300)), 6) > 0.05 for _ in lesions])
    if exclusive:
        masks[1:] &= ~masks[0]
        masks[2] &= ~masks[1]
    assert (masks.sum(axis=0) > 1).any() != exclusive
    photo = random.integers(0, 60, (200, 300, 3), dtype=np.uint8)
    overlay = draw_overlay(photo, masks, np.ones((200, 300)), dict.fromkeys(lesions, 1), exclusive)

    # one pixel in a small photo, two among capillaries
    disc = np.ones((3, 3), bool)
    if not exclusive:
        disc = np.ones((5, 5), bool)
        disc[::4, ::4] = False
    expected = photo.astype(float)
    if not exclusive:
        tinted = masks[OCTA_LESIONS.index("nonperfusion_area")]
        expected[tinted] = np.round(0.88 * expected[tinted] + 0.12 * np.array(PALETTE["nonperfusion_area"]))
    order = OVERLAP_PRIORITY if exclusive else [OCTA_LESIONS[number] for number in (2, 0, 1)]
    for lesion in reversed(order):
        if lesion in lesions:
            own = masks[lesions.index(lesion)]
            outline = ndimage.binary_dilation(own, disc) & ~(masks.any(axis=0) if exclusive else own)
            assert outline.any()
            expected[outline] = PALETTE[lesion]
    legend = np.zeros((200, 300), bool)
    legend[:60, :220] = legend[:60, -220:] = legend[-60:, :220] = legend[-60:, -220:] = True
    np.testing.assert_array_equal(overlay[~legend], expected[~legend])


def test_a_lesion_within_another_keeps_its_outline():
    masks = np.zeros((3, 600, 600), dtype=bool)
    masks[1, 100:400, 100:400] = True
    masks[0, 200:230, 200:230] = masks[2, 300:350, 300:350] = True
    photo = np.full((600, 600, 3), 90, dtype=np.uint8)
    overlay = draw_overlay(photo, masks, np.ones((600, 600)), dict.fromkeys(OCTA_LESIONS, 1), exclusive=False)
    for lesion, mask in zip(OCTA_LESIONS, masks, strict=True):
        ring = ndimage.binary_dilation(mask, iterations=1) & ~mask
        assert has_colour(overlay, lesion)[ring].all()
    inside = overlay[masks[1]]
    assert (inside[~has_colour(inside, OCTA_LESIONS[0]) & ~has_colour(inside, OCTA_LESIONS[2])] != 90).any()


def test_the_legend_of_octa_names_its_lesions():
    photo = np.zeros((1024, 1024, 3), dtype=np.uint8)
    counts = {"neovascularisation": 2, "nonperfusion_area": 5}
    overlay = draw_overlay(photo, np.zeros((2, 1024, 1024), bool), np.ones((1024, 1024)), counts, exclusive=False)
    for lesion in OCTA_LESIONS:
        assert has_colour(overlay, lesion).any() == (lesion in counts)
    rows = [np.flatnonzero(has_colour(overlay, lesion).any(axis=1)).mean() for lesion in OCTA_LESIONS[1:]]
    assert rows[0] < rows[1]  # in the order of the lesions, whatever that of the channels


# severe deficiency of red, green and blue cones: Machado, Oliveira and Fernandes 2009, of linear RGB
SEEN_BY = {
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(colours, by: str) -> np.ndarray:
    """CIELAB of colours, RGB 0 to 255, as eyes see them that lack a kind of cones."""
    colours = np.asarray(colours, dtype=float) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(SEEN_BY[by]), 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_octa_colours_are_told_apart_and_are_no_grey(seen_by):
    colours = seen([PALETTE[lesion] for lesion in OCTA_LESIONS], seen_by)
    greys = seen(np.repeat(np.arange(256)[:, None], 3, axis=1), seen_by)
    for number, colour in enumerate(colours):
        assert deltaE_ciede2000(greys, np.broadcast_to(colour, greys.shape)).min() > 12
        for other in colours[:number]:
            assert deltaE_ciede2000(colour, other) > 20


OWN = ("drusen", "laser_scar", "cotton", "fibrosis", "vessel", "disc")
RETINA_AND_LEGEND = ((190, 90, 30), (140, 60, 20), (220, 130, 60), (110, 35, 15), (16, 16, 16))


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_colours_of_ones_own_lesions_are_told_apart(seen_by):
    colours = lesion_colours([*LESIONS, *OWN])
    places = seen([*colours.values()], seen_by)
    backs = seen(RETINA_AND_LEGEND, seen_by)
    for number, colour in enumerate(places):
        for other in places[:number]:
            assert deltaE_ciede2000(colour, other) > 10
        if number >= len(LESIONS):
            assert deltaE_ciede2000(backs, np.broadcast_to(colour, backs.shape)).min() > 10


def test_the_order_of_colours_is_stable():
    mixed = lesion_colours(["laser_scar", "hard_exudate", "drusen", "microaneurysm"])
    assert list(mixed) == ["microaneurysm", "hard_exudate", "drusen", "laser_scar"]
    assert mixed == lesion_colours(list(mixed)) == lesion_colours([*mixed][::-1])
    assert mixed["hard_exudate"] == PALETTE["hard_exudate"]
    many = lesion_colours([f"lesion_{letter}" for letter in "abcdefghijkl"])
    assert len(set(many.values())) == 10
    assert many["lesion_k"] == many["lesion_a"]
    assert len(set(lesion_colours([*OCTA_LESIONS, *OWN]).values())) == 9


@pytest.mark.parametrize("count", [9, 20, 64])
def test_more_lesions_than_bits_of_a_byte(count):
    """Each in a place of its own, far from the legend."""
    lesions = [f"lesion_{number:02}" for number in range(count)][::-1]
    masks = np.zeros((count, 200, 900), dtype=bool)
    for number, mask in enumerate(masks):
        mask[10:13, 10 + 8 * number : 13 + 8 * number] = True
    photo = np.full((200, 900, 3), 90, dtype=np.uint8)
    overlay = draw_overlay(photo, masks, np.ones((200, 900)), dict.fromkeys(lesions, 1), exclusive=False)
    colours = lesion_colours(lesions)
    for lesion, mask in zip(lesions, masks, strict=True):
        ring = ndimage.binary_dilation(mask) & ~mask
        assert (overlay[ring] == colours[lesion]).all()


def test_more_lesions_than_an_overlay_shows():
    counts = dict.fromkeys([str(number) for number in range(65)], 0)
    with pytest.raises(ValueError, match="at most 64 lesions, got 65"):
        draw_overlay(np.zeros((9, 9, 3), np.uint8), np.zeros((65, 9, 9), bool), np.ones((9, 9)), counts)


def test_the_legend_names_ones_own_lesions():
    photo = np.zeros((1024, 1024, 3), dtype=np.uint8)
    counts = {"laser_scar": 2, "haemorrhage": 5, "drusen": 0}
    overlay = draw_overlay(photo, np.zeros((3, 1024, 1024), bool), np.ones((1024, 1024)), counts, exclusive=False)
    rings = [(overlay == colour).all(axis=-1) for colour in lesion_colours(counts).values()]
    rows = [np.flatnonzero(ring.any(axis=1)).mean() for ring in rings]
    assert rows == sorted(rows)
    assert len(rows) == 3
