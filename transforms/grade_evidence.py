"""A picture of where in a photo the evidence for its grade lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tinylesions.transforms.heat import HEAT_TICKS, heat_over, overlay_heat
from tinylesions.transforms.panels import DARK, WHITE, Scale, draw_scale, text_size

__all__ = ["draw_grade_evidence"]

_LONGEST_SIDE = 2144
_CAPTION = "evidence, relative to the strongest in this photo"


def draw_grade_evidence(photo: np.ndarray, evidence: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    """Lay the evidence over a photo and tell the grade below it.

    Args:
        photo: (H, W, 3) uint8 RGB.
        evidence: (H, W) float, 0 to 1, the strongest of this photo is 1.
        facts: ``grade``, ``grade_name`` and ``grade_probability_<grade>``, as
            :class:`~tinylesions.transforms.grade_photo.GradePhotod` writes them.

    Returns:
        (h, w, 3) uint8 RGB, the longer side of the photo in it 2144 pixels at most, and a strip below.

    Raises:
        ValueError: photo and evidence differ in height or width.
    """
    if photo.shape[:2] != evidence.shape:
        raise ValueError(f"photo and evidence have to be of one size, got {photo.shape[:2]} and {evidence.shape}")
    scale = min(1, _LONGEST_SIDE / max(evidence.shape))
    width, height = (max(1, round(side * scale)) for side in reversed(evidence.shape))
    small = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BOX))
    heat = Image.fromarray(evidence.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
    return _with_caption(overlay_heat(small, np.asarray(heat)), small, facts)


def _with_caption(overlay: np.ndarray, photo: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    grade = facts["grade"]
    texts = [f"grade {grade}: {facts['grade_name']}", f"probability {facts[f'grade_probability_{grade}']:.2f}"]
    height, width = overlay.shape[:2]
    half = width // 2
    size = text_size([*texts, _CAPTION], half - width // 30)
    font, strip, margin = ImageFont.load_default(size), round(1.6 * size), size
    picture = Image.new("RGB", (width, height + 3 * strip), DARK)
    picture.paste(Image.fromarray(overlay), (0, 0))
    draw = ImageDraw.Draw(picture)
    for line, text in enumerate(texts):
        draw.text((margin, height + (line + 0.5) * strip + strip / 4), text, fill=WHITE, font=font, anchor="lm")
    scale = Scale(_CAPTION, heat_over(photo), HEAT_TICKS)
    draw_scale(picture, font, (half, height, max(half + 1, width - margin)), strip, scale)
    return np.asarray(picture)
