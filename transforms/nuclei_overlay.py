"""A picture of a tile with the outlines of the nuclei and a legend beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from tinylesions.transforms.nuclei_colours import nuclei_colours

__all__ = ["draw_nuclei", "enlargement"]

_ENLARGED = 4  # nuclei of some ten pixels can be judged then
_SMALLEST, _LARGEST = 1024, 2048  # pixels of a picture's longer side
_OUTLINE = 0.75  # of a pixel of the tile, so that the inside of the smallest nucleus shows
_LEGEND_TEXT = 1 / 45  # height as a share of the picture's longer side
_DARK, _WHITE, _FAINT = (16, 16, 16), (255, 255, 255), (150, 150, 150)


def draw_nuclei(
    tile: np.ndarray, nuclei: np.ndarray, class_names: Sequence[str], counts: Mapping[str, int], title: str
) -> np.ndarray:
    """Draw the outline of each nucleus into a tile in the colour of its class, and a legend to the right of it.

    An outline lies inside of its nucleus, so that nuclei that touch keep their own. A small tile is enlarged by
    :func:`enlargement`, each pixel to a square.

    Args:
        tile: (H, W, 3) uint8 RGB.
        nuclei: (2, H, W) integers, number and class of each nucleus, 0 in the background.
        class_names: the background first.
        counts: how many nuclei each class has, the background left out; the legend names these.
        title: first line of the legend.

    Returns:
        (h, w, 3) uint8 RGB, a new array: the tile at the top left, the legend right of it.

    Raises:
        ValueError: tile and nuclei differ in height or width.
    """
    if nuclei.shape != (2, *tile.shape[:2]):
        raise ValueError(f"tile and nuclei have to be of one size, got {tile.shape[:2]} and {nuclei.shape}")
    scale = enlargement(tile.shape[:2])
    picture, numbers, classes = (
        array.repeat(scale, axis=0).repeat(scale, axis=1) for array in (tile, nuclei[0], nuclei[1])
    )
    longer = max(numbers.shape)
    outlines = _inner_borders(numbers, max(1, round(scale * _OUTLINE)))
    colours = nuclei_colours(class_names)
    picture[outlines] = np.array(colours, dtype=np.uint8)[classes[outlines]]
    named = dict(zip(class_names, colours, strict=True))
    legend = _legend(max(10, round(longer * _LEGEND_TEXT)), title, {name: named[name] for name in counts}, counts)
    return _side_by_side(picture, legend)


def enlargement(size: Sequence[int]) -> int:
    """How many pixels of the picture a pixel of a tile (H, W) is high and wide.

    Example:
        >>> enlargement((256, 256)), enlargement((900, 700)), enlargement((1200, 1500))
        (4, 2, 1)
    """
    longer = max(size)
    return max(1, min(_LARGEST // longer, max(_ENLARGED, _SMALLEST // longer)))


def _inner_borders(numbers: np.ndarray, thickness: int) -> np.ndarray:
    """(H, W) bool: pixels of a nucleus at most `thickness` from one that is not of it; the frame is no border."""
    size = 2 * thickness + 1
    largest, smallest = ndimage.maximum_filter(numbers, size), ndimage.minimum_filter(numbers, size)
    return (numbers > 0) & (largest != smallest)


def _legend(
    size: int, title: str, colours: Mapping[str, tuple[int, int, int]], counts: Mapping[str, int]
) -> np.ndarray:
    """(h, w, 3) uint8: the title, then a ring, the name and the count of each class, in text `size` pixels high."""
    font = ImageFont.load_default(size=size)
    names = {name: name.replace("_", " ") for name in colours}
    line, margin = round(1.5 * size), size
    text_left = margin + round(1.3 * size)
    width_of_names = max(font.getlength(text) for text in names.values())
    width_of_counts = max(font.getlength(str(count)) for count in counts.values())
    right = max(text_left + width_of_names + size + width_of_counts, margin + font.getlength(title))
    image = Image.new("RGB", (round(right) + margin, line * (len(colours) + 1) + margin), _DARK)
    draw = ImageDraw.Draw(image)
    draw.text((margin, (margin + line) / 2), title, fill=_WHITE, font=font, anchor="lm")
    for row, (name, colour) in enumerate(colours.items(), start=1):
        middle = round(margin / 2 + (row + 0.5) * line)
        radius = 0.38 * size
        ring = (margin, middle - radius, margin + 2 * radius, middle + radius)
        draw.ellipse(ring, outline=colour, width=max(2, round(0.2 * size)))
        text = _WHITE if counts[name] else _FAINT
        draw.text((text_left, middle), names[name], fill=text, font=font, anchor="lm")
        draw.text((round(right), middle), str(counts[name]), fill=text, font=font, anchor="rm")
    return np.asarray(image)


def _side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Join two pictures at the top; what is lower is filled up with dark."""
    height = max(left.shape[0], right.shape[0])
    joined = np.full((height, left.shape[1] + right.shape[1], 3), _DARK, dtype=np.uint8)
    joined[: left.shape[0], : left.shape[1]] = left
    joined[: right.shape[0], left.shape[1] :] = right
    return joined
