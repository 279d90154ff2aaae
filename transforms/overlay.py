"""A picture of the photo with the outlines of the lesions and a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tinylesions.datasets.lesions import OCTA_LESIONS, OVERLAP_PRIORITY
from tinylesions.transforms.lesion_colours import PALETTE, lesion_colours

__all__ = ["draw_overlay"]

_OUTLINE = 1 / 1200  # of the longer side: 4 pixels of 4288, 3 of 3504, still a line when the picture is shown small
_OCTA_OUTLINE = 2  # pixels at least: a line of one is lost among capillaries, which are as fine
_TINT = {"nonperfusion_area": 0.12}  # which side of an outline is inside, where the frame cuts a large area off
_LEGEND_TEXT = (1 / 66, 1 / 80, 1 / 96, 1 / 120)  # height as shares of the longer side, the first that fits
_MOST_LESIONS = 64  # a bit of a pixel each
_ON_TOP = (*OVERLAP_PRIORITY, "neovascularisation", "intraretinal_microvascular_abnormality", "nonperfusion_area")
_DARK, _FAINT = (16, 16, 16), (150, 150, 150)


def draw_overlay(
    photo: np.ndarray,
    masks: np.ndarray,
    field_of_view: np.ndarray,
    counts: Mapping[str, int],
    exclusive: bool = True,
) -> np.ndarray:
    """Draw the outlines of the lesions into a photo, and a legend outside of the retina.

    An outline lies wholly outside of its lesion, so that every pixel of a lesion can still be judged; a nonperfusion
    area is tinted as well, so faintly that capillaries in it would show. The legend takes the first corner, from the
    bottom left, that the field of view leaves free; where none does, it covers the corner with the fewest lesion
    pixels, as small as it can be read.

    Args:
        photo: (H, W, 3) uint8 RGB.
        masks: (K, H, W) bool, one for each lesion of `counts`, in their order.
        field_of_view: (H, W), above 0 where the retina is.
        counts: how many components each lesion has that was looked for, at most 64 of any names; the legend names
            these.
        exclusive: no pixel is of two lesions, and an outline keeps clear of the other lesions, too. Else lesions may
            overlap, and the outline of one that lies in another is drawn there.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ValueError: the three arrays differ in height or width, there is not a mask for each lesion, or there are more
            than 64.
    """
    size = photo.shape[:2]
    if masks.shape != (len(counts), *size) or field_of_view.shape != size:
        raise ValueError(
            f"photo, masks of {len(counts)} lesions and field of view have to be of one size, got"
            f" {size}, {masks.shape} and {field_of_view.shape}"
        )
    if len(masks) > _MOST_LESIONS:
        raise ValueError(f"an overlay shows at most {_MOST_LESIONS} lesions, got {len(masks)}")
    lesions = _bits(masks)
    overlay = photo.copy()
    for lesion, mask in zip(counts, masks, strict=True):
        if lesion in _TINT:
            share = _TINT[lesion]
            overlay[mask] = np.rint((1 - share) * overlay[mask] + share * np.array(PALETTE[lesion]))
    thinnest = _OCTA_OUTLINE if set(counts) & set(OCTA_LESIONS) else 1
    outlines = _grown_borders(lesions, max(thinnest, round(max(size) * _OUTLINE)))
    if exclusive:
        outlines[lesions > 0] = 0
    else:
        outlines &= ~lesions
    rows, columns = np.nonzero(outlines)
    overlay[rows, columns] = _colours_of_bits(outlines[rows, columns], list(counts))
    _paste_legend(overlay, lesions > 0, field_of_view > 0, counts)
    return overlay


def _bits(masks: np.ndarray) -> np.ndarray:
    """(H, W) unsigned: bit k is set where mask k is, so that one pass sees all masks."""
    bits = np.zeros(masks.shape[1:], dtype=np.min_scalar_type((1 << len(masks)) - 1))
    for number, mask in enumerate(masks):
        bits |= mask * bits.dtype.type(1 << number)
    return bits


def _colours_of_bits(bits: np.ndarray, lesions: Sequence[str]) -> np.ndarray:
    """(n, 3) uint8: the colour of each of n pixels. Where outlines meet, the rarer lesion's lies on top."""
    colours = np.zeros((len(bits), 3), dtype=np.uint8)
    palette = lesion_colours(lesions)
    for lesion in sorted(palette, key=lambda name: _ON_TOP.index(name) if name in _ON_TOP else len(_ON_TOP))[::-1]:
        colours[bits & bits.dtype.type(1 << lesions.index(lesion)) > 0] = palette[lesion]
    return colours


def _grown_borders(lesions: np.ndarray, thickness: int) -> np.ndarray:
    """(H, W) unsigned: bit k is set at most `thickness` pixels from the border of lesion k.

    Growing the border pixels alone by a disc costs a fiftieth of a dilation of the whole photo.
    """
    border = np.zeros_like(lesions)
    for ahead, behind in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        changes = lesions[ahead] ^ lesions[behind]
        border[ahead] |= changes
        border[behind] |= changes
    border &= lesions
    rows, columns = np.nonzero(border)
    bits = border[rows, columns]
    offsets = np.arange(-thickness, thickness + 1)
    grown = np.pad(np.zeros_like(lesions), thickness)
    for y in offsets:
        for x in offsets:
            if y * y + x * x <= thickness * (thickness + 1):
                grown[rows + y + thickness, columns + x + thickness] |= bits
    return grown[thickness:-thickness, thickness:-thickness]


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
    colours = lesion_colours(counts)
    names = [name.replace("_", " ") for name in colours]
    numbers = [str(counts[name]) for name in colours]
    line, margin = round(1.4 * size), round(0.7 * size)
    text_left = margin + round(1.3 * size)
    text_right = text_left + max(font.getlength(name) for name in names) + size
    right = round(text_right + max(font.getlength(number) for number in numbers))
    image = Image.new("RGB", (right + margin, line * len(colours) + margin), _DARK)
    draw = ImageDraw.Draw(image)
    for row, (lesion, name, number) in enumerate(zip(colours, names, numbers, strict=True)):
        middle = round(margin / 2 + (row + 0.5) * line)
        radius = 0.38 * size
        ring = (margin, middle - radius, margin + 2 * radius, middle + radius)
        draw.ellipse(ring, outline=colours[lesion], width=max(1, round(0.16 * size)))
        text = (255, 255, 255) if counts[lesion] else _FAINT
        draw.text((text_left, middle), name, fill=text, font=font, anchor="lm")
        draw.text((right, middle), number, fill=text, font=font, anchor="rm")
    return np.asarray(image)
