"""The camera: field of view with its dim rim and its notch, black frame, sensor noise."""

from __future__ import annotations

import numpy as np

from tinylesions.datasets.phantoms.geometry import Geometry
from tinylesions.datasets.phantoms.noise import random_stream

__all__ = ["expose"]

BAND = 64  # rows that are finished at once, so that they stay in the processor's cache
# The mask inside IDRiD's camera has two teeth on the right above the middle: angles in degrees and height in diameters.
TEETH, TOOTH_WIDTH, TOOTH_HEIGHT = (-33.2, -29.2), 4.0, 0.0155


def _beyond(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance from the edge of the field of view in diameters, negative inside; float32 (height, width)."""
    beyond = np.sqrt(x * x + y * y) - np.float32(0.5)
    rows = np.flatnonzero((y[:, 0] > -0.30) & (y[:, 0] < -0.20))
    columns = np.flatnonzero((x[0] > 0.38) & (x[0] < 0.48))
    if rows.size and columns.size:
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        angle = np.degrees(np.arctan2(y[window[0]], x[:, window[1]]))
        for tooth in TEETH:
            into = (angle - tooth) / TOOTH_WIDTH
            beyond[window] -= TOOTH_HEIGHT * np.clip(np.minimum(into * 1.5, (1 - into) * 3), 0, 1)
    return beyond


def expose(seed: int, geometry: Geometry, image: np.ndarray) -> np.ndarray:
    """Take the photo of a scene.

    Args:
        seed: of the photo.
        geometry: its places and its size.
        image: float32 (3, height, width), 0..255, which may go beyond.

    Returns:
        uint8 (height, width, 3); the frame's black is a little above 0, as a sensor's is.
    """
    rng = random_stream(seed, "camera")
    height, width = geometry.size
    noise = rng.standard_normal(width * BAND * 2 + 65536, dtype=np.float32)
    level, glow = np.float32(rng.uniform(2.0, 3.4)), np.float32(rng.uniform(0, 3))
    x, y = geometry.axes()
    rim = np.float32(max(4 * geometry.pixel, 0.7) / geometry.diameter)
    dimness = np.float32(rng.uniform(0.1, 0.35))
    photo = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, BAND):
        rows = slice(top, top + BAND)
        beyond = _beyond(x, y[rows])
        seen = 1 / (1 + np.exp(np.clip(2 * beyond / rim, -30, 30)))
        frame = glow * np.exp(-np.maximum(beyond, 0) / np.float32(0.06))
        light = seen * (1 - dimness * np.exp(-((beyond / np.float32(0.012)) ** 2)))
        for channel, black in enumerate((0.4, 0.3, 1.6)):
            start = int(rng.integers(noise.size - seen.size))
            grain = noise[start : start + seen.size].reshape(seen.shape)
            value = image[channel, rows] * light + (frame + np.float32(black)) * (1 - seen)
            value += grain * (np.float32(0.9) + (level - np.float32(0.9)) * seen)
            photo[rows, :, channel] = np.clip(value + np.float32(0.5), 0, 255).astype(np.uint8)
    return photo
