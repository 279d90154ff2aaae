"""What looks like a lesion and is none: pigment, drusen, dust and reflections."""

from __future__ import annotations

import numpy as np

from tinylesions.datasets.phantoms.geometry import FULL_DIAMETER, Geometry
from tinylesions.datasets.phantoms.noise import random_stream
from tinylesions.datasets.phantoms.stamps import absorb, blob, cover_of, open_window, tint

__all__ = ["draw_near_misses"]


def _on_disc(geometry: Geometry, place: np.ndarray) -> bool:
    return bool(np.hypot(*(place - np.array(geometry.disc))) < 1.3 * geometry.disc_radius)


def _pigment(rng: np.random.Generator, image: np.ndarray, geometry: Geometry) -> None:
    """Brown-grey spots: unlike blood they darken red nearly as much as green, and their outline is ragged."""
    for _ in range(rng.integers(6, 30)):
        radius = max(rng.uniform(5, 30) / FULL_DIAMETER * geometry.diameter, 1.5)
        place = rng.uniform(-0.5, 0.5, 2)
        if _on_disc(geometry, place):
            continue
        window = open_window(geometry, place, 2 * radius + 6, rng.uniform(0, 3.1))
        cover = cover_of(blob(rng, window, radius, rng.uniform(1, 1.8), 0.2), rng.uniform(2, 5) * geometry.pixel)
        strength = rng.uniform(0.15, 0.7)
        absorb(image, window, cover, (0.5 * strength, 0.62 * strength, 0.4 * strength))


def _drusen(rng: np.random.Generator, image: np.ndarray, geometry: Geometry) -> None:
    """Round, dull, whitish and soft, where hard exudates are yellow, ragged and sharp."""
    for _ in range(rng.integers(1, 5)):
        middle = np.array(geometry.fovea) + rng.normal(0, 0.12, 2)
        spread, brightness = rng.uniform(0.02, 0.06), rng.uniform(0.3, 0.9)
        for _ in range(rng.integers(8, 36)):
            radius = max(rng.uniform(5, 20) * geometry.pixel, 1.5)
            place = middle + rng.normal(0, spread, 2)
            if _on_disc(geometry, place):
                continue
            window = open_window(geometry, place, 2.5 * radius + 2)
            cover = cover_of(blob(rng, window, radius, rng.uniform(1, 1.2), 0.03), 0.45 * radius)
            tint(image, window, cover * np.float32(brightness), (1.03, 1.1, 1.1), (16.0, 24.0, 18.0))


def _dust(rng: np.random.Generator, image: np.ndarray, geometry: Geometry) -> None:
    """Neutral specks on the sensor, sharper than anything on the retina, and pale rings of dust out of focus."""
    for _ in range(rng.integers(4, 22)):
        radius = max(rng.uniform(2.5, 7) * geometry.pixel, 0.8)
        window = open_window(geometry, rng.uniform(-0.5, 0.5, 2), 3 * radius + 2)
        distance = blob(rng, window, radius, rng.uniform(1, 2.2), 0.1)
        absorb(image, window, cover_of(distance, 0.7 * geometry.pixel), (rng.uniform(0.25, 0.7),) * 3)
        halo = np.exp(-((distance / (1.5 * geometry.pixel + 0.5) - 1.5) ** 2))
        absorb(image, window, halo, (-0.05,) * 3)
    for _ in range(rng.integers(0, 4)):
        radius = rng.uniform(30, 70) * geometry.pixel
        window = open_window(geometry, rng.uniform(-0.5, 0.5, 2), 1.5 * radius + 2)
        ring = np.exp(-((blob(rng, window, radius, 1.0, 0.0) / (0.15 * radius)) ** 2))
        absorb(image, window, ring, (rng.uniform(-0.06, 0.05),) * 3)


def _reflections(rng: np.random.Generator, image: np.ndarray, geometry: Geometry) -> None:
    """Bluish-white glints of the inner limiting membrane: thin, drawn-out, without an edge."""
    for _ in range(rng.integers(2, 16)):
        radius = rng.uniform(20, 90) * geometry.pixel
        place = np.array(geometry.fovea) + rng.normal(0, 0.17, 2)
        window = open_window(geometry, place, 2.4 * radius + 2, rng.uniform(0, 3.1))
        bent = window.across + np.float32(rng.uniform(-0.3, 0.3)) * window.along**2 / np.float32(radius)
        width = np.float32(max(rng.uniform(0.1, 0.4) * radius, 1.0))
        glint = np.exp(-((bent / width) ** 2) - (window.along / np.float32(radius)) ** 2 * 1.5)
        tint(image, window, glint * np.float32(rng.uniform(0.15, 0.8)), (1.0, 1.05, 1.1), (20.0, 26.0, 34.0))


def draw_near_misses(seed: int, geometry: Geometry, image: np.ndarray) -> None:
    """Draw them all into ``image`` float32 (3, height, width), in place; they carry no mask."""
    for name, draw in (("drusen", _drusen), ("pigment", _pigment), ("reflections", _reflections), ("dust", _dust)):
        draw(random_stream(seed, name), image, geometry)
