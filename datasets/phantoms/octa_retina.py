"""The healthy retina in an OCTA image: places, large vessels, capillary mesh, foveal avascular zone, optic disc."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy import ndimage

from tinylesions.datasets.phantoms.geometry import Geometry
from tinylesions.datasets.phantoms.noise import random_stream, smooth_noise
from tinylesions.datasets.phantoms.stamps import blob, cover_of, open_window
from tinylesions.datasets.phantoms.vessel_drawing import trace_vessels
from tinylesions.datasets.phantoms.vessels import Vessel, grow_vessels

__all__ = [
    "FULL_SIDE",
    "avascular_distance",
    "draw_mesh",
    "draw_vessels",
    "octa_geometry",
    "octa_pixel",
    "octa_vessels",
]

FULL_SIDE = 1024
"""Side of an image of DRAC2022 in pixels; sizes in such pixels scale with the image's mean side."""

REACH = 1.3  # the vessel tree's diameter in sides of the image, so that vessels reach the corners
VESSEL_WIDTH = 0.65  # vessels in a slab of 12 mm, compared with those of a fundus photo
THIN = 0.0011  # vessels whose widest radius, in diameters, is below this are lost with the capillaries around them


def octa_geometry(seed: int, size: tuple[int, int]) -> Geometry:
    """Draw the places of an image: fovea near the middle, optic disc about 4.5 of 12 mm away, either eye."""
    rng = random_stream(seed, "octa geometry")
    height, width = size
    temporal = int(rng.choice([-1, 1]))
    fovea = (temporal * rng.uniform(-0.02, 0.07), rng.uniform(-0.05, 0.05))
    disc = (fovea[0] - temporal * rng.uniform(0.27, 0.30), fovea[1] - rng.uniform(-0.01, 0.04))
    diameter = REACH * math.sqrt(height * width)
    return Geometry(size, diameter, (width / 2, height / 2), temporal, disc, rng.uniform(0.048, 0.056), fovea)


def octa_pixel(geometry: Geometry) -> float:
    """Return the length in pixels of this image of what is one pixel in an image of 1024×1024."""
    return geometry.diameter / (REACH * FULL_SIDE)


def octa_vessels(seed: int, geometry: Geometry) -> list[Vessel]:
    """Grow the large vessels from the optic disc, tapering and branching."""
    vessels = grow_vessels(random_stream(seed, "octa vessels"), geometry)
    return [replace(vessel, radius=VESSEL_WIDTH * vessel.radius) for vessel in vessels]


def draw_vessels(vessels: list[Vessel], geometry: Geometry, lost: np.ndarray) -> np.ndarray:
    """Draw large vessels everywhere, thin ones where their retina is perfused.

    Args:
        vessels: of `octa_vessels`.
        geometry: the image's places and size.
        lost: share of the perfusion that is lost, float32 (height, width), 0..1.

    Returns:
        float32 (height, width), 0..1.
    """
    thin = [vessel for vessel in vessels if vessel.radius.max() < THIN]
    large = [vessel for vessel in vessels if vessel.radius.max() >= THIN]
    return np.maximum(trace_vessels(large, geometry)[0], trace_vessels(thin, geometry)[0] * (1 - lost))


def avascular_distance(seed: int, geometry: Geometry) -> np.ndarray:
    """Distance to the edge of the foveal avascular zone in pixels, negative inside; float32 (height, width)."""
    rng = random_stream(seed, "avascular zone")
    window = open_window(geometry, geometry.fovea, 2.0 * max(geometry.size), rng.uniform(0, 3.1))
    return blob(rng, window, rng.uniform(22, 36) * octa_pixel(geometry), rng.uniform(1, 1.3), 0.1)


def _strands(rng: np.random.Generator, size: tuple[int, int], spacing: float) -> np.ndarray:
    """Fine curved strands about ``spacing`` pixels apart, 0..1: level lines of band-passed noise."""
    white = rng.standard_normal(size, dtype=np.float32)
    # Half the dominant wavelength of this band is 2.2 times the narrower deviation.
    narrow = spacing / 2.2
    band = ndimage.gaussian_filter(white, narrow) - ndimage.gaussian_filter(white, 1.6 * narrow)
    return np.exp(-((band / (np.float32(0.42) * band.std())) ** 2))


def draw_mesh(seed: int, geometry: Geometry, lost: np.ndarray) -> np.ndarray:
    """Draw the capillaries with what they spare: the avascular zone, the optic disc and lost perfusion.

    Args:
        seed: of the image.
        geometry: its places and its size.
        lost: share of the perfusion that is lost, float32 (height, width), 0..1.

    Returns:
        float32 (height, width), 0 to about 1.
    """
    rng = random_stream(seed, "mesh")
    size, pixel = geometry.size, octa_pixel(geometry)
    fine = max(pixel, 0.55)  # below, the mesh would be finer than the pixels
    come_and_go = np.clip(0.7 + 0.45 * smooth_noise(rng, size, 6 * fine, octaves=2), 0.1, 1.5)
    mesh = _strands(rng, size, rng.uniform(5.5, 7.0) * fine) * come_and_go
    mesh = np.maximum(mesh, 0.75 * _strands(rng, size, rng.uniform(8, 11) * fine) * come_and_go[::-1, ::-1])
    mesh *= np.clip(1 + 0.18 * smooth_noise(rng, size, 60 * pixel, octaves=3), 0.45, 1.6)

    distance = avascular_distance(seed, geometry)
    ring = np.exp(-(((distance - 5 * pixel) / (2.5 * fine)) ** 2)) * np.clip(come_and_go, 0.3, 1)
    mesh = np.maximum(mesh, 0.9 * ring) * (1 - cover_of(distance, 4.0 * fine))

    x, y = geometry.axes()
    x, y = x - np.float32(geometry.disc[0]), y - np.float32(geometry.disc[1])
    from_disc = np.hypot(x, y) / np.float32(geometry.disc_radius)
    spokes = ndimage.gaussian_filter1d(rng.standard_normal(720).astype(np.float32), 1.0, mode="wrap")
    spoke = spokes[((np.arctan2(y, x) + np.float32(np.pi)) * np.float32(719 / (2 * np.pi))).astype(np.int32)]
    mesh *= 1 - 0.6 * np.exp(-(from_disc**4))
    mesh += np.clip(0.25 + 0.45 * spoke, 0, 1) * np.exp(-(((from_disc - 1.25) / 0.5) ** 2))
    return mesh * (1 - lost)
