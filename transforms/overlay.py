"""A picture of the photo with the outlines of the lesions and a legend."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tinylesions.datasets.lesions import CLASSES, LESIONS, OVERLAP_PRIORITY

__all__ = ["PALETTE", "draw_overlay"]

PALETTE = {
    "microaneurysm": (240, 228, 66),
    "haemorrhage": (86, 180, 233),
    "hard_exudate": (0, 60, 255),
    "soft_exudate": (255, 255, 255),
}
"""Colour of each lesion, RGB 0 to 255. Yellow and sky blue are of Okabe and Ito's colour-blind-safe set; its blue and
green are too dim on an orange retina, hence a pure blue and white. The four also differ in lightness."""

_OUTLINE = 1 / 1200  # of the longer side: 4 pixels of 4288, 3 of 3504, still a line when the picture is shown small
_LEGEND_TEXT = (1 / 66, 1 / 80, 1 / 96, 1 / 120)  # height as shares of the longer side, the first that fits
_DARK, _FAINT = (16, 16, 16), (150, 150, 150)


def draw_overlay(
    photo: np.ndarray, label_map: np.ndarray, field_of_view: np.ndarray, counts: Mapping[str, int]
) -> np.ndarray:
    """Draw the outlines of the lesions into a photo, and a legend outside of the retina.

    An outline lies wholly outside of its lesion, so that every pixel of a lesion can still be judged. The legend
    takes the first corner, from the bottom left, that the field of view leaves free; where none does, it covers the
    corner with the fewest lesion pixels, as small as it can be read.

    Args:
        photo: (H, W, 3) uint8 RGB.
        label_map: (H, W) uint8, indices into :data:`~tinylesions.datasets.lesions.CLASSES`.
        field_of_view: (H, W), above 0 where the retina is.
        counts: how many components each lesion has that was looked for; the legend names these.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ValueError: the three arrays differ in height or width.
    """
    if not photo.shape[:2] == label_map.shape == field_of_view.shape:
        raise ValueError(
            "photo, label map and field of view have to be of one size, got"
            f" {photo.shape[:2]}, {label_map.shape} and {field_of_view.shape}"
        )
    lesion = (label_map >= CLASSES.index(LESIONS[0])) & (label_map <= CLASSES.index(LESIONS[-1]))
    overlay = photo.copy()
    outline = _outlines(label_map, lesion, max(1, round(max(label_map.shape) * _OUTLINE)))
    rows, columns = np.nonzero(outline)
    overlay[rows, columns] = np.array([PALETTE.get(name, (0, 0, 0)) for name in CLASSES])[outline[rows, columns]]
    _paste_legend(overlay, lesion, field_of_view > 0, counts)
    return overlay


def _outlines(label_map: np.ndarray, lesion: np.ndarray, thickness: int) -> np.ndarray:
    """(H, W) uint8: the class whose outline a pixel belongs to, 0 for none.

    Growing the border pixels alone by a disc costs a fiftieth of a dilation of the whole photo.
    """
    border = np.zeros(label_map.shape, dtype=bool)
    for ahead, behind in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        changes = label_map[ahead] != label_map[behind]
        border[ahead] |= changes
        border[behind] |= changes
    rows, columns = np.nonzero(border & lesion)
    classes = label_map[rows, columns]
    offsets = np.arange(-thickness, thickness + 1)
    disc = [(y, x) for y in offsets for x in offsets if y * y + x * x <= thickness * (thickness + 1)]
    grown = np.pad(np.zeros_like(label_map), thickness)
    for name in reversed(OVERLAP_PRIORITY):  # where outlines meet, the rarer lesion's lies on top
        chosen = classes == CLASSES.index(name)
        for y, x in disc:
            grown[rows[chosen] + y + thickness, columns[chosen] + x + thickness] = CLASSES.index(name)
    outline = grown[thickness:-thickness, thickness:-thickness]
    outline[lesion] = 0
    return outline


def _paste_legend(overlay: np.ndarray, lesion: np.ndarray, retina: np.ndarray, counts: Mapping[str, int]) -> None:
    height, width = lesion.shape
    for share in _LEGEND_TEXT:
        legend = _legend(max(8, round(max(height, width) * share)), counts)[:height, :width]
        rows, columns = legend.shape[:2]
        corners = [
            (slice(y, y + rows), slice(x, x + columns)) for y in (height - rows, 0) for x in (0, width - columns)
        ]
        free = [corner for corner in corners if not retina[corner].any()]
        if free:
            break
    # without a free corner this is the smallest legend; min takes the first of equal ones
    overlay[free[0] if free else min(corners, key=lambda corner: int(lesion[corner].sum()))] = legend


def _legend(size: int, counts: Mapping[str, int]) -> np.ndarray:
    """(h, w, 3) uint8: a ring, the name and the count of each lesion, in text ``size`` pixels high."""
    font = ImageFont.load_default(size=size)
    lesions = [lesion for lesion in LESIONS if lesion in counts]
    names = [name.replace("_", " ") for name in lesions]
    numbers = [str(counts[name]) for name in lesions]
    line, margin = round(1.4 * size), round(0.7 * size)
    text_left = margin + round(1.3 * size)
    text_right = text_left + max(font.getlength(name) for name in names) + size
    right = round(text_right + max(font.getlength(number) for number in numbers))
    image = Image.new("RGB", (right + margin, line * len(lesions) + margin), _DARK)
    draw = ImageDraw.Draw(image)
    for row, (lesion, name, number) in enumerate(zip(lesions, names, numbers, strict=True)):
        middle = round(margin / 2 + (row + 0.5) * line)
        radius = 0.38 * size
        ring = (margin, middle - radius, margin + 2 * radius, middle + radius)
        draw.ellipse(ring, outline=PALETTE[lesion], width=max(1, round(0.16 * size)))
        text = (255, 255, 255) if counts[lesion] else _FAINT
        draw.text((text_left, middle), name, fill=text, font=font, anchor="lm")
        draw.text((right, middle), number, fill=text, font=font, anchor="rm")
    return np.asarray(image)
