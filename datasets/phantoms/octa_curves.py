"""Small tangled vessels of an OCTA image: tortuous walks, and the distance of each pixel from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

__all__ = ["distance_from", "tortuous_walk"]

STEP = 0.5  # pixels; half of one, so that a curve on the pixel grid has no gaps


def tortuous_walk(
    rng: np.random.Generator,
    start: Sequence[float] | np.ndarray,
    length: float,
    turn: float,
    home: np.ndarray | None = None,
    radius: float = np.inf,
) -> np.ndarray:
    """Walk from ``start`` in a direction that bends this way and that.

    Args:
        rng: source of randomness.
        start: (x, y) in pixels.
        length: of the walk in pixels.
        turn: typical radius of its bends in pixels; the smaller, the more it loops.
        home: (x, y) that the walk turns back to when it is further away than ``radius`` pixels.
        radius: in pixels.

    Returns:
        Points (n, 2), x first, STEP pixels apart.
    """
    count = max(int(length / STEP), 4)
    memory = float(np.exp(-STEP / (1.6 * turn)))  # a bend keeps its sense for about half a loop
    kicks = rng.normal(0, np.sqrt(1 - memory**2), count)
    heading, bend = rng.uniform(0, 2 * np.pi), rng.normal()
    point = np.asarray(start, float)
    points = np.empty((count, 2))
    for index in range(count):
        points[index] = point
        bend = memory * bend + kicks[index]
        heading += min(max(bend, -1.5), 1.5) * STEP / turn
        if home is not None and np.hypot(*(point - home)) > radius:
            wanted = np.arctan2(*(home - point)[::-1])
            heading += 0.5 * np.sin(wanted - heading)
        point = point + STEP * np.array([np.cos(heading), np.sin(heading)])
    return points


def distance_from(
    curves: Sequence[np.ndarray], size: tuple[int, int], reach: float
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Measure the distance from curves in a window ``reach`` pixels around them.

    Args:
        curves: points (n, 2) in pixels, x first; at least one point lies in the image.
        size: (height, width) of the image.
        reach: in pixels.

    Returns:
        The window's slices of the image, and the distance in pixels, float32.

    Raises:
        ValueError: no point lies in the image.
    """
    points = np.rint(np.concatenate(list(curves))).astype(int)
    inside = (points >= 0).all(axis=1) & (points < [size[1], size[0]]).all(axis=1)
    if not inside.any():
        raise ValueError("no point of the curves lies in the image; start them inside")
    points, margin = points[inside], int(np.ceil(reach))
    left, top = np.maximum(points.min(axis=0) - margin, 0)
    right, bottom = np.minimum(points.max(axis=0) + margin + 1, [size[1], size[0]])
    free = np.ones((bottom - top, right - left), bool)
    free[points[:, 1] - top, points[:, 0] - left] = False
    return (slice(top, bottom), slice(left, right)), ndimage.distance_transform_edt(free).astype(np.float32)
