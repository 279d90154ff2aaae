"""Where things are in a fundus photo: the field of view, the optic disc and the fovea."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["FULL_DIAMETER", "Geometry", "draw_geometry"]

FULL_DIAMETER = 3420.0
"""Diameter in pixels of the field of view in IDRiD's photos of 4288×2848; sizes in such pixels scale with it."""


@dataclass(frozen=True)
class Geometry:
    """Places of one photo. Positions are (x, y) from the centre of the field of view, in its diameters, y downwards.

    Args:
        size: (height, width) in pixels.
        diameter: of the field of view, in pixels; larger than the height where the circle is cut flat.
        centre: (x, y) of the field of view in pixels from the left upper corner.
        temporal: +1 if the temporal side is on the right of the photo (a left eye), −1 otherwise.
        disc: centre of the optic disc.
        disc_radius: in diameters.
        fovea: centre of the macula.
    """

    size: tuple[int, int]
    diameter: float
    centre: tuple[float, float]
    temporal: int
    disc: tuple[float, float]
    disc_radius: float
    fovea: tuple[float, float]

    @property
    def pixel(self) -> float:
        """Length in pixels of this photo of what is one pixel in a photo of 4288×2848."""
        return self.diameter / FULL_DIAMETER

    def shrunk(self, factor: int) -> Geometry:
        """Return the same places in a photo ``factor`` times smaller (its last row and column may reach beyond)."""
        height, width = (-(-length // factor) for length in self.size)
        centre = (self.centre[0] / factor, self.centre[1] / factor)
        return replace(self, size=(height, width), diameter=self.diameter / factor, centre=centre)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Turn positions (..., 2) in diameters into pixel indices (..., 2), x first."""
        return np.asarray(points) * self.diameter + np.asarray(self.centre) - 0.5

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x (1, width) and y (height, 1) of the pixels' centres in diameters, float32."""
        x = (np.arange(self.size[1], dtype=np.float32) + 0.5 - self.centre[0]) / self.diameter
        y = (np.arange(self.size[0], dtype=np.float32) + 0.5 - self.centre[1]) / self.diameter
        return x[None].astype(np.float32), y[:, None].astype(np.float32)

    def within(self, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Whether positions (..., 2) lie in the field of view and the frame, ``margin`` diameters from their edges."""
        points = np.asarray(points)
        pixels = self.to_pixels(points)
        edge = margin * self.diameter
        inside = np.hypot(points[..., 0], points[..., 1]) < 0.5 - margin
        for axis, length in enumerate(self.size[::-1]):
            inside &= (pixels[..., axis] > edge) & (pixels[..., axis] < length - 1 - edge)
        return inside


def draw_geometry(rng: np.random.Generator, size: tuple[int, int]) -> Geometry:
    """Draw the places of a photo of ``size`` = (height, width), as IDRiD's lie: macula near the middle, either eye."""
    height, width = size
    diameter = min(1.2 * height, 0.8 * width)
    temporal = int(rng.choice([-1, 1]))
    shift = rng.uniform(-0.03, 0.02)
    centre = (width / 2 + shift * diameter, height / 2 + rng.uniform(-0.004, 0.004) * diameter)
    fovea = (-temporal * rng.uniform(-0.07, 0.04), rng.uniform(-0.04, 0.05))
    between = rng.uniform(0.35, 0.39)
    disc = (fovea[0] - temporal * between, fovea[1] - rng.uniform(0.01, 0.06))
    return Geometry(size, diameter, centre, temporal, disc, rng.uniform(0.072, 0.083), fovea)
