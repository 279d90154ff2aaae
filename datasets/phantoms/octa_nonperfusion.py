"""Nonperfusion areas: patches of an OCTA image whose capillaries are lost."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tinylesions.datasets.phantoms.geometry import Geometry
from tinylesions.datasets.phantoms.noise import random_stream, smooth_noise
from tinylesions.datasets.phantoms.octa_retina import avascular_distance, octa_pixel
from tinylesions.datasets.phantoms.stamps import blob, cover_of, open_window

__all__ = ["nonperfusion_areas"]

LEAST_SHARE, LARGEST_SHARE = 0.035, 0.15  # of the image that the patches of one image are planned to cover
LARGEST_PATCH = 0.065  # likewise one patch
TRIES = 60


def _place(rng: np.random.Generator, geometry: Geometry, radius: float) -> np.ndarray:
    """Choose where a patch of ``radius`` pixels lies: in the frame, clear of the fovea and of most of the disc."""
    height, width = geometry.size
    fovea, disc = geometry.to_pixels(np.array([geometry.fovea, geometry.disc]))
    best, widest = np.zeros(2), -np.inf
    for centre in rng.uniform(0.06, 0.94, (TRIES, 2)) * (width, height):
        room = np.hypot(*(centre - fovea)) - 1.25 * radius - 65 * octa_pixel(geometry)
        beside = np.hypot(*(centre - disc)) - 0.9 * radius - geometry.disc_radius * geometry.diameter
        if min(room, beside) > 0:
            return centre
        if min(room, beside) > widest:
            best, widest = centre, min(room, beside)
    return best


def nonperfusion_areas(seed: int, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Draw one to four patches with irregular borders.

    Returns:
        The mask, bool (height, width), and the share of the capillaries that is lost, float32 (height, width), 0..1:
        along the border stumps of capillaries reach into the mask.
    """
    rng = random_stream(seed, "nonperfusion")
    size, pixel = geometry.size, octa_pixel(geometry)
    mask, lost = np.zeros(size, bool), np.zeros(size, np.float32)
    clear_of_fovea = avascular_distance(seed, geometry) > 12 * pixel
    shares = rng.dirichlet(np.full(int(rng.integers(1, 5)), 3.0)) * rng.uniform(LEAST_SHARE, LARGEST_SHARE)
    for share in np.minimum(shares, LARGEST_PATCH):
        radius = max(float(np.sqrt(share * size[0] * size[1] / np.pi)), 5.0)
        centre = (_place(rng, geometry, radius) + 0.5 - geometry.centre) / geometry.diameter
        window = open_window(geometry, centre, 2.2 * radius, rng.uniform(0, 3.1))
        stretch = rng.uniform(1, 1.7)
        distance = blob(rng, window, radius * np.sqrt(stretch), stretch, 0.16)
        rough = 0.16 * radius * smooth_noise(rng, distance.shape, max(0.4 * radius, 2.0), octaves=3)
        # However rough the border, the middle is lost.
        distance = np.minimum(distance + rough, distance + 0.5 * radius)
        pieces, _ = ndimage.label(distance < 0)
        largest = ndimage.binary_fill_holes(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
        largest &= clear_of_fovea[window.where]
        mask[window.where] |= largest
        stumps = np.maximum(smooth_noise(rng, distance.shape, max(7 * pixel, 3.0), octaves=2), -0.2) * 4.5 * pixel
        inward = cover_of(distance + stumps, max(1.2 * pixel, 0.6)) * ndimage.gaussian_filter(
            largest.astype(np.float32), max(1.2 * pixel, 0.6)
        )
        # A few capillaries may be left.
        left = np.clip(0.3 * smooth_noise(rng, distance.shape, max(12 * pixel, 3.0)) - rng.uniform(0.1, 0.4), 0, 0.6)
        np.maximum(lost[window.where], inward * (1 - left), out=lost[window.where])
    return mask, lost
