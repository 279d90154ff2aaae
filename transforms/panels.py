"""Pictures of panels in rows, a title above each and a scale of colours below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from monai.data import MetaTensor
from PIL import Image, ImageDraw, ImageFont

from tinylesions.datasets.photos import read_photo

__all__ = ["DARK", "WHITE", "Scale", "draw_panels", "draw_scale", "reduced_photo", "text_size"]

DARK, WHITE, _BLANK = (16, 16, 16), (255, 255, 255), (48, 48, 64)
_TEXT = 1 / 30  # height of a title as a share of a panel's width
_SMALLEST_TEXT = 8  # pixels
_GAP = 4  # pixels between panels


@dataclass(frozen=True)
class Scale:
    """What colours mean.

    Attributes:
        caption: what is shown.
        colours: (n, 3) uint8 RGB, from the least to the most.
        ticks: place on the bar, 0 to 1, to the text below it.
    """

    caption: str
    colours: np.ndarray
    ticks: Mapping[float, str]


def draw_panels(rows: Sequence[Sequence[tuple[str, np.ndarray | None]]], scale: Scale) -> Image.Image:
    """Draw rows of panels.

    Args:
        rows: titles and panels, all of one size, (H, W, 3) or (H, W) uint8; None is a plain one. The first row has a
            panel that is not.
        scale: drawn below the last column.
    """
    height, width = next(panel for _, panel in rows[0] if panel is not None).shape[:2]
    size = text_size([scale.caption, *(title for row in rows for title, _ in row)], width)
    font, strip = ImageFont.load_default(size), round(1.6 * size)
    across, down = width + _GAP, strip + height + _GAP
    right = len(rows[0]) * across - _GAP
    picture = Image.new("RGB", (right, len(rows) * down + 3 * strip), DARK)
    draw = ImageDraw.Draw(picture)
    for row, panels in enumerate(rows):
        for column, (title, panel) in enumerate(panels):
            left, top = column * across, row * down
            draw.text((left + width / 2, top + strip / 2), title, fill=WHITE, font=font, anchor="mm")
            box = (left, top + strip, left + width, top + strip + height)
            if panel is None:
                picture.paste(_BLANK, box)
            else:
                picture.paste(Image.fromarray(panel).convert("RGB"), box)
    draw_scale(picture, font, (right - width, len(rows) * down, right), strip, scale)
    return picture


def text_size(texts: Sequence[str], width: int) -> int:
    """Height in pixels at which every text is no wider than a panel, unless the panels are tiny."""
    size = max(_SMALLEST_TEXT, round(width * _TEXT))
    longest = max(ImageFont.load_default(size).getlength(text) for text in texts)
    return max(_SMALLEST_TEXT, int(size * min(1, width / longest)))


def draw_scale(
    picture: Image.Image,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    place: tuple[int, int, int],
    strip: int,
    scale: Scale,
) -> None:
    """Draw the caption, a bar of the colours and its ticks, each in a line of `strip` pixels.

    Args:
        picture: RGB, drawn into.
        font: of the texts.
        place: left, top and right end in pixels.
        strip: height of a line.
        scale: what is drawn.
    """
    left, top, right = place
    chosen = np.linspace(0, len(scale.colours) - 1, right - left).astype(int)
    bar = np.tile(scale.colours[chosen], (strip // 2, 1, 1))
    picture.paste(Image.fromarray(bar), (left, top + strip))
    draw = ImageDraw.Draw(picture)
    draw.text((right, top + strip / 2), scale.caption, fill=WHITE, font=font, anchor="rm")
    free = float(left)
    for position, text in scale.ticks.items():
        length = font.getlength(text)
        # a text stands centred below its colour, the first and the last inside the bar
        start = min(max(left + (right - left) * position - length / 2, left), right - length)
        if start >= free:
            draw.text((start, top + 2 * strip), text, fill=WHITE, font=font, anchor="lm")
            free = start + 1.3 * length


def reduced_photo(image: MetaTensor) -> np.ndarray:
    """(H, W, 3) uint8: the file of a preprocessed photo (C, H, W) at its size, in its own colours."""
    height, width = image.shape[1:]
    photo = Image.fromarray(read_photo(image.meta["filename_or_obj"]))
    return np.asarray(photo.resize((width, height), Image.Resampling.BOX))
