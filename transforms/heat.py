"""Maps of evidence as colours over a photo."""

from __future__ import annotations

import numpy as np
from skimage.color import lab2rgb

__all__ = ["HEAT", "HEAT_TICKS", "heat_over", "overlay_heat"]

_OPAQUE = 0.6  # at most, so that the photo is seen below the strongest evidence too
_FULL_FROM = 0.5  # evidence from which on the colour is as opaque
_ANCHORS = ((28, 45, -75), (62, -14, -34), (92, -45, 35))  # CIE L*a*b*: blue, cyan, mint


def _heat_colours() -> np.ndarray:
    anchors = np.array(_ANCHORS, dtype=np.float64)
    lengths = np.linalg.norm(np.diff(anchors, axis=0), axis=1)
    places = np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum()
    lab = np.stack([np.interp(np.linspace(0, 1, 256), places, channel) for channel in anchors.T], axis=1)
    return np.rint(255 * lab2rgb(lab)).astype(np.uint8)


HEAT = _heat_colours()
"""(256, 3) uint8 RGB: equal steps of evidence are equal steps in CIELAB, and the lightness rises. Blue to mint, since
a retina is orange."""

HEAT_TICKS = {0.0: "none", 0.5: "0.5", 1.0: "1"}
"""What a scale of these colours says, from its left end, 0, to its right end, 1."""


def overlay_heat(photo: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a map over a photo: nothing of it is seen where it is 0, and little of the photo where it is 1.

    Args:
        photo: (H, W, 3) uint8 RGB.
        heat: (H, W) float; it is cut to 0 to 1.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Example:
        >>> photo = np.full((1, 2, 3), 200, dtype=np.uint8)
        >>> overlay_heat(photo, np.array([[0.0, 0.25]]))[0, 0].tolist()
        [200, 200, 200]
    """
    strength = heat.clip(0, 1).astype(np.float32)
    opacity = (_OPAQUE * (strength / _FULL_FROM).clip(0, 1))[..., None]
    colours = HEAT[np.rint(255 * strength).astype(np.uint8)]
    return np.rint(photo + opacity * (colours.astype(np.float32) - photo)).astype(np.uint8)


def heat_over(photo: np.ndarray) -> np.ndarray:
    """Return the colours as they look on this retina, over the median of the pixels that are not black.

    Args:
        photo: (H, W, 3) uint8 RGB.

    Returns:
        (256, 3) uint8 RGB, from no evidence to the strongest.
    """
    lit = photo[photo.max(axis=2) >= photo.max() // 4]
    ground = np.tile(np.median(lit, axis=0).astype(np.uint8), (1, len(HEAT), 1))
    return overlay_heat(ground, np.linspace(0, 1, len(HEAT))[None])[0]
