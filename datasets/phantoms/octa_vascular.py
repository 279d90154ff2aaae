"""Diseased vessels of an OCTA image: intraretinal microvascular abnormalities and neovascularisation."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tinylesions.datasets.phantoms.geometry import Geometry
from tinylesions.datasets.phantoms.noise import random_stream
from tinylesions.datasets.phantoms.octa_curves import distance_from, tortuous_walk
from tinylesions.datasets.phantoms.octa_retina import avascular_distance, octa_pixel
from tinylesions.datasets.phantoms.vessels import Vessel

__all__ = ["draw_microvascular_abnormalities", "draw_neovascularisation", "draw_tortuous_vessels"]


def _paint(flow: np.ndarray, distance: np.ndarray, radius: float, brightness: float) -> None:
    profile = np.float32(brightness) * np.exp(np.float32(-0.9) * (distance / np.float32(radius)) ** 3)
    np.maximum(flow, profile, out=flow)


def draw_microvascular_abnormalities(
    seed: int, geometry: Geometry, flow: np.ndarray, nonperfused: np.ndarray
) -> np.ndarray:
    """Draw short, wide, looping vessels at the border of nonperfusion areas, or off the fovea where there are none.

    Args:
        seed: of the image.
        geometry: its places and its size.
        flow: float32 (height, width), changed in place.
        nonperfused: mask of the nonperfusion areas, bool (height, width).

    Returns:
        The mask, bool (height, width): each vessel's filled outline, a little wider than the vessel, as annotators
        draw it.
    """
    rng = random_stream(seed, "microvascular abnormalities")
    pixel, mask = octa_pixel(geometry), np.zeros(geometry.size, bool)
    fine = max(pixel, 0.5)  # below, a lesion would be no more than a point
    # The frame's edge is no border: border_value=1.
    border = nonperfused & ~ndimage.binary_erosion(nonperfused, iterations=max(round(3 * pixel), 1), border_value=1)
    places = np.argwhere(border if border.any() else avascular_distance(seed, geometry) > 20 * pixel)
    count = round(rng.integers(5, 14) * pixel / fine)
    for start in rng.choice(places, max(count, 2))[:, ::-1]:
        radius, brightness = rng.uniform(1.3, 2.0) * fine, rng.uniform(0.65, 0.95)
        extent = rng.uniform(10, 32) * fine
        curves = [
            tortuous_walk(rng, start, rng.uniform(1.3, 2.8) * extent, rng.uniform(3.5, 7.0) * fine, start, extent / 2)
            for _ in range(int(rng.integers(1, 3)))
        ]
        where, distance = distance_from(curves, geometry.size, radius + 6 * fine)
        _paint(flow[where], distance, radius, brightness)
        mask[where] |= ndimage.binary_fill_holes(distance <= radius + 1.6 * fine)
    return mask


def _beside_large_vessels(rng: np.random.Generator, geometry: Geometry, vessels: list[Vessel]) -> np.ndarray:
    """Choose a point (x, y) in pixels on one of the large vessels, in the frame and off the optic disc."""
    height, width = geometry.size
    points = np.concatenate([vessel.points[vessel.radius > 0.0014] for vessel in vessels])
    points = points[np.hypot(*(points - geometry.disc).T) > 1.5 * geometry.disc_radius]
    pixels = geometry.to_pixels(points)
    inside = ((pixels > 0.05 * np.array([width, height])) & (pixels < 0.95 * np.array([width, height]))).all(axis=1)
    if not inside.any():  # a frame so narrow that it holds the fovea only
        return rng.uniform(0.1, 0.9, 2) * (width, height)
    return rng.choice(pixels[inside]) + rng.normal(0, 8 * octa_pixel(geometry), 2).clip(-20, 20)


def draw_neovascularisation(seed: int, geometry: Geometry, flow: np.ndarray, vessels: list[Vessel]) -> np.ndarray:
    """Draw one to three dense tangled tufts beside large vessels, 30 to 90 pixels wide in an image of 1024×1024.

    Arguments and result are those of `draw_microvascular_abnormalities`, but for the vessels of `octa_vessels`.
    """
    rng = random_stream(seed, "neovascularisation")
    pixel, mask = octa_pixel(geometry), np.zeros(geometry.size, bool)
    fine = max(pixel, 0.5)
    for _ in range(int(rng.integers(1, 4))):
        middle = _beside_large_vessels(rng, geometry, vessels).clip(0, np.array(geometry.size[::-1]) - 1)
        radius = max(rng.uniform(15, 40) * pixel, 5.0)
        stem = tortuous_walk(rng, middle, radius, radius, middle, 0.6 * radius)
        curves = [stem]
        for start in rng.choice(stem, int(rng.integers(9, 18))):
            turn = rng.uniform(4, 9) * fine
            curves.append(tortuous_walk(rng, start, rng.uniform(1.2, 3.0) * radius, turn, middle, 0.9 * radius))
        where, distance = distance_from(curves, geometry.size, 9 * fine)
        outline = ndimage.binary_fill_holes(distance <= 3.2 * fine)
        flow[where] = np.maximum(flow[where], 0.3 * ndimage.gaussian_filter(outline.astype(np.float32), 1.5 * fine))
        _paint(flow[where], distance, rng.uniform(1.2, 1.7) * fine, rng.uniform(0.8, 1.0))
        mask[where] |= outline
    return mask


def draw_tortuous_vessels(seed: int, geometry: Geometry, flow: np.ndarray, lost: np.ndarray) -> None:
    """Draw normal vessels that wind into ``flow``: near-misses, longer, thinner and less bent than diseased ones."""
    rng = random_stream(seed, "tortuous vessels")
    fine = max(octa_pixel(geometry), 0.5)
    height, width = geometry.size
    perfused = (1 - lost) * (avascular_distance(seed, geometry) > 0)
    for _ in range(int(rng.integers(10, 26))):
        start, length = rng.uniform(0.03, 0.97, 2) * (width - 1, height - 1), rng.uniform(40, 150) * fine
        curve = tortuous_walk(rng, start, length, rng.uniform(12, 30) * fine)
        radius, brightness = rng.uniform(0.9, 1.7) * fine, rng.uniform(0.6, 0.95)
        where, distance = distance_from([curve], geometry.size, 4 * fine)
        profile = np.float32(brightness) * np.exp(np.float32(-0.9) * (distance / np.float32(radius)) ** 3)
        np.maximum(flow[where], profile * perfused[where], out=flow[where])
