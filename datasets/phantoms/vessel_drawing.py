"""From curves to pixels: how much of each kind of vessel lies over each pixel."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinylesions.datasets.phantoms.geometry import Geometry
from tinylesions.datasets.phantoms.vessels import STEP, Vessel

__all__ = ["trace_vessels"]


def trace_vessels(vessels: Iterable[Vessel], geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Draw vessels by their distance to each pixel.

    Returns:
        Thickness 0..1 and central reflex 0..1, float32 (height, width) each. Where curves of one call meet, the
        thicker counts; draw arteries and veins apart, so that their crossings add up.
    """
    height, width = geometry.size
    thickness = np.zeros(geometry.size, np.float32)
    reflex = np.zeros(geometry.size, np.float32)
    columns, rows = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    for vessel in vessels:
        # Small photos need fewer points of the curve.
        stride = max(1, round(3 / (STEP * geometry.diameter)))
        points = geometry.to_pixels(vessel.points[::stride]).astype(np.float32)
        radii = (vessel.radius[::stride] * geometry.diameter).astype(np.float32)
        strength = np.clip((vessel.radius[::stride] / 0.004) ** 0.4, 0.25, 1.0) * np.clip(radii / 0.7, 0, 1)
        for index in range(len(points) - 1):
            (x0, y0), (x1, y1) = points[index], points[index + 1]
            radius = max(float(radii[index]), 0.7)
            reach = 1.6 * radius + 1.5
            left, right = max(int(min(x0, x1) - reach), 0), min(int(max(x0, x1) + reach) + 2, width)
            top, bottom = max(int(min(y0, y1) - reach), 0), min(int(max(y0, y1) + reach) + 2, height)
            if left >= right or top >= bottom:
                continue
            x, y = columns[:, left:right] - x0, rows[top:bottom] - y0
            dx, dy = x1 - x0, y1 - y0
            inverse = 1 / max(dx * dx + dy * dy, 1e-6)
            t = np.minimum(np.maximum(x * (dx * inverse) + y * (dy * inverse), 0), 1)
            ratio = ((x - t * dx) ** 2 + (y - t * dy) ** 2) * (1 / radius**2)
            window = np.s_[top:bottom, left:right]
            profile = np.float32(strength[index]) * np.exp(-0.9 * ratio**1.5)
            np.maximum(thickness[window], profile, out=thickness[window])
            if radius > 2:
                shine = np.float32(min((radius - 2) / 4, 1)) * np.exp(-12 * ratio)
                np.maximum(reflex[window], shine, out=reflex[window])
    return thickness, reflex
