"""What the device adds to an OCTA image: uneven signal, shadows, motion of the eye, speckle."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tinylesions.datasets.phantoms.geometry import Geometry
from tinylesions.datasets.phantoms.noise import random_stream, smooth_noise
from tinylesions.datasets.phantoms.octa_retina import octa_pixel
from tinylesions.datasets.phantoms.stamps import blob, cover_of, open_window

__all__ = ["draw_motion", "draw_signal", "expose_octa", "shift_rows"]


def draw_signal(seed: int, geometry: Geometry) -> np.ndarray:
    """Draw the signal that reaches each pixel, float32 (height, width), about 1: uneven, vignetted, with shadows.

    Shadows of media opacities are near-misses of nonperfusion areas: dark, but with their capillaries.
    """
    rng = random_stream(seed, "signal")
    x, y = geometry.axes()
    lean = rng.uniform(-0.3, 0.3, 2).astype(np.float32)
    signal = 1 + lean[0] * x + lean[1] * y + 0.07 * smooth_noise(rng, geometry.size, 0.25 * geometry.diameter)
    signal -= np.float32(rng.uniform(0.5, 1.3)) * (x * x + y * y) ** np.float32(1.3)
    for _ in range(int(rng.integers(2, 7))):
        radius = rng.uniform(25, 110) * octa_pixel(geometry)
        window = open_window(geometry, rng.uniform(-0.38, 0.38, 2), 2.6 * radius + 2, rng.uniform(0, 3.1))
        shade = cover_of(blob(rng, window, radius, rng.uniform(1, 1.9), 0.16), rng.uniform(0.15, 0.4) * radius)
        signal[window.where] *= 1 - np.float32(rng.uniform(0.35, 0.7)) * shade
    return np.clip(signal, 0.12, None)


def shift_rows(seed: int, geometry: Geometry) -> np.ndarray:
    """Draw for each pixel the column it is seen from, int (height, width): when the eye moves, rows are displaced.

    Apply it with `numpy.take_along_axis` along axis 1, to the image and to its masks.
    """
    rng = random_stream(seed, "eye movements")
    height, width = geometry.size
    shift = np.zeros(height, int)
    for _ in range(int(rng.integers(1, 5))):
        first = int(rng.integers(height))
        rows = slice(first, first + int(rng.integers(2, max(round(60 * octa_pixel(geometry)), 4))))
        shift[rows] += int(rng.choice([-1, 1]) * max(round(rng.uniform(1, 5) * octa_pixel(geometry)), 1))
    return np.clip(np.arange(width)[None] + shift[:, None], 0, width - 1)


def draw_motion(seed: int, geometry: Geometry, flow: np.ndarray) -> None:
    """Draw motion lines into ``flow`` float32 (height, width), in place: rows and bands too bright or too dark."""
    rng = random_stream(seed, "motion lines")
    height, width = geometry.size
    for _ in range(int(rng.integers(3, 13))):
        first, thick = int(rng.integers(height)), int(rng.choice([1, 1, 1, 2, 3]))
        if rng.uniform() < 0.15:
            thick = max(round(rng.uniform(5, 16) * octa_pixel(geometry)), 2)
        rows = slice(first, first + thick)
        # The eye stops before the line is complete, or moves after it began.
        along = np.clip(0.7 + 0.5 * smooth_noise(rng, (1, width), 0.3 * width), 0, 1)
        if rng.uniform() < 0.65:
            flow[rows] += np.float32(rng.uniform(0.15, 0.5)) * along
        else:
            flow[rows] *= 1 - np.float32(rng.uniform(0.4, 0.8)) * along
    # Single rows differ a little everywhere.
    flow *= 1 + np.float32(0.05) * rng.standard_normal((height, 1), dtype=np.float32)


def expose_octa(seed: int, geometry: Geometry, flow: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Turn flow into grey levels with speckle.

    Args:
        seed: of the image.
        geometry: its places and its size.
        flow: float32 (height, width), 0 to about 1.
        signal: of `draw_signal`, likewise.

    Returns:
        uint8 (height, width).
    """
    rng = random_stream(seed, "speckle")
    # The more looks are averaged, the finer the grain; a pixel of a smaller image averages more.
    looks = rng.uniform(1.0, 2.0) / min(octa_pixel(geometry), 1)
    speckle = rng.standard_gamma(looks, flow.shape, dtype=np.float32) / np.float32(looks)
    for axis, beside in ((0, 0.1), (1, 0.17)):
        speckle = ndimage.correlate1d(speckle, np.array([beside, 1 - 2 * beside, beside], np.float32), axis=axis)
    residual = np.float32(rng.uniform(0.12, 0.24))  # decorrelation where nothing flows
    level = np.float32(rng.uniform(190, 260))
    grey = level * signal * (flow + residual) * (np.float32(0.1) + np.float32(0.9) * speckle)
    # Bright vessels are compressed, so that few pixels saturate.
    grey = 255 * (1 - np.exp(-grey / 190))
    return (grey + np.float32(rng.uniform(4, 12)) + 0.5).clip(0, 255).astype(np.uint8)
