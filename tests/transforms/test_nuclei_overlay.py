"""The picture of a tile: outlines in the colours of the classes, and the legend beside it."""

from __future__ import annotations

import colorsys
from itertools import combinations

import numpy as np
import pytest

from tinylesions.datasets import CONIC_CLASSES, MONUSAC_CLASSES
from tinylesions.transforms import NUCLEI_COLOURS, draw_nuclei, nuclei_colours, nuclei_instances
from tinylesions.transforms.nuclei_overlay import enlargement

CLASSES = ("background", "plasma", "epithelial")
TITLE = "combined result"


def tile_and_nuclei(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(height)
    tile = random.integers(120, 200, (height, width, 3), dtype=np.uint8)  # none of the colours
    class_map = np.zeros((height, width), dtype=np.uint8)
    for number in range(12):
        y, x = random.integers(0, height - 8), random.integers(0, width - 8)
        class_map[y : y + 7, x : x + 7] = 1 + number % 2
    return tile, nuclei_instances(class_map, 1)


@pytest.mark.parametrize("size", [(250, 333), (30, 40), (600, 520), (20, 400)])
def test_tile_and_outlines(size):
    tile, nuclei = tile_and_nuclei(*size)
    picture = draw_nuclei(tile, nuclei, CLASSES, {"plasma": 5, "epithelial": 7}, TITLE)
    scale = enlargement(size)
    height, width = scale * size[0], scale * size[1]
    assert picture.dtype == np.uint8
    assert picture.shape[0] >= height
    assert picture.shape[1] > width
    shown = picture[:height, :width].reshape(size[0], scale, size[1], scale, 3).transpose(0, 2, 1, 3, 4)
    colours = nuclei_colours(CLASSES)
    for y, x in np.ndindex(*size):
        square = shown[y, x].reshape(-1, 3)
        number, class_ = nuclei[:, y, x]
        around = nuclei[0, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        own = (square == tile[y, x]).all(axis=1)
        line = (square == colours[class_]).all(axis=1)
        if number == 0 or (around == number).all():
            assert own.all()
        else:  # at the border of a nucleus, the side towards others only
            assert (own | line).all()
            assert line.any()


def test_the_inside_of_a_nucleus_of_three_pixels_shows():
    tile = np.full((256, 256, 3), 150, dtype=np.uint8)
    class_map = np.zeros((256, 256), dtype=np.uint8)
    class_map[100:103, 50:53] = 1
    picture = draw_nuclei(tile, nuclei_instances(class_map, 1), CLASSES, {"plasma": 1, "epithelial": 0}, TITLE)
    assert (picture[404:408, 204:208] == 150).all()
    assert (picture[400, 200:212] == NUCLEI_COLOURS["plasma"]).all()


def test_nuclei_that_touch_keep_their_own_outlines():
    tile = np.full((256, 256, 3), 150, dtype=np.uint8)
    class_map = np.zeros((256, 256), dtype=np.uint8)
    class_map[50:60, 50:60], class_map[50:60, 60:70] = 1, 2
    picture = draw_nuclei(tile, nuclei_instances(class_map, 1), CLASSES, {"plasma": 1, "epithelial": 1}, TITLE)
    assert picture[220, 239].tolist() == list(NUCLEI_COLOURS["plasma"])
    assert picture[220, 240].tolist() == list(NUCLEI_COLOURS["epithelial"])


def test_the_legend_has_the_colours_of_the_classes_and_no_other():
    tile, nuclei = np.full((64, 64, 3), 150, np.uint8), np.zeros((2, 64, 64), np.int32)
    counts = dict.fromkeys(CONIC_CLASSES[1:], 1234)
    legend = draw_nuclei(tile, nuclei, CONIC_CLASSES, counts, TITLE)[:, 64 * 16 :]
    found = {tuple(colour) for colour in legend.reshape(-1, 3).tolist()}
    wanted = {NUCLEI_COLOURS[name] for name in counts}
    assert wanted <= found
    grey = {colour for colour in found if len(set(colour)) == 1}  # letters and their smooth edges
    others = set(NUCLEI_COLOURS.values()) - wanted - grey
    assert len(others) == 3
    assert not found & others
    assert (legend[:, -3:] == legend[0, -1]).all(), "nothing is cut off"


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="one size"):
        draw_nuclei(np.zeros((6, 7, 3), np.uint8), np.zeros((2, 7, 6), np.int32), CLASSES, {"plasma": 0}, TITLE)


class TestColours:
    @pytest.mark.parametrize("size", [2, 5, 30, 256])
    def test_of_any_number_of_classes_differ(self, size):
        names = ["background", "epithelial", *(f"class_{number}" for number in range(size - 2))]
        colours = nuclei_colours(names)
        assert colours[0] == (0, 0, 0)
        assert len(colours) == len(set(colours)) == size
        assert all(0 <= value <= 255 for colour in colours for value in colour)

    def test_none_is_a_colour_of_the_stain(self):
        for red, green, blue in nuclei_colours(["background", *map(str, range(200))])[1:]:
            hue, _, saturation = colorsys.rgb_to_hls(red / 255, green / 255, blue / 255)
            assert saturation < 0.1 or not 250 / 360 < hue < 355 / 360, (red, green, blue)

    @pytest.mark.parametrize("names", [CONIC_CLASSES, MONUSAC_CLASSES])
    def test_of_a_data_set_differ_clearly_for_all_eyes(self, names):
        # the red-green colour-blind see blue - yellow and lightness, here as the mean of red and green
        seen = [((red + green) / 2, blue) for red, green, blue in nuclei_colours(names)[1:]]
        for first, second in combinations(seen, 2):
            assert max(abs(first[0] - second[0]), abs(first[1] - second[1])) > 40
