"""Draw one lesion into its window of a photo, with its exact mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinylesions.datasets.phantoms.geometry import Geometry
from tinylesions.datasets.phantoms.lesions import Lesion
from tinylesions.datasets.phantoms.noise import smooth_noise

__all__ = ["Window", "absorb", "blob", "cover_of", "open_window", "stamp", "tint"]

# Optical depth in red, green, blue of blood at full strength.
BLOOD = (0.25, 0.80, 0.60)


@dataclass(frozen=True)
class Window:
    """Part of a photo around a point: its slices and the turned coordinates (pixels) of its pixels."""

    where: tuple[slice, slice]
    along: np.ndarray
    across: np.ndarray


def open_window(geometry: Geometry, centre: Sequence[float] | np.ndarray, reach: float, angle: float = 0.0) -> Window:
    """Open the window of ``reach`` pixels around ``centre`` (in diameters), cut at the frame."""
    x, y = geometry.to_pixels(np.array(centre))
    height, width = geometry.size
    left, right = max(int(np.floor(x - reach)), 0), min(int(np.ceil(x + reach)) + 1, width)
    top, bottom = max(int(np.floor(y - reach)), 0), min(int(np.ceil(y + reach)) + 1, height)
    right, bottom = max(right, left), max(bottom, top)
    dx = np.arange(left, right, dtype=np.float32)[None] - np.float32(x)
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return Window((slice(top, bottom), slice(left, right)), dx * cos + dy * sin, dy * cos - dx * sin)


def blob(rng: np.random.Generator, window: Window, radius: float, stretch: float, wobble: float) -> np.ndarray:
    """Distance to the edge of a wobbly ellipse in pixels, negative inside; float32 like the window."""
    short = max(radius / stretch, 1.2)
    x, y = window.along / np.float32(radius), window.across / np.float32(short)
    angle = np.arctan2(y, x)
    edge = np.ones_like(angle)
    for wave in range(2, 7):
        edge += np.float32(rng.normal(0, 1.4 * wobble / wave)) * np.cos(wave * angle + np.float32(rng.uniform(0, 6.28)))
    return (np.sqrt(x * x + y * y) - np.maximum(edge, 0.4)) * np.float32(np.sqrt(radius * short))


def flame(rng: np.random.Generator, window: Window, radius: float, stretch: float, soft: float) -> np.ndarray:
    """Distance to the edge of a flame: strands of unequal length side by side; in pixels, negative inside.

    Lengthwise the distance grows more slowly, so that a cover ``soft`` pixels wide feathers the strands' ends.
    """
    short = max(radius / stretch, 1.2)
    across = window.across / np.float32(short)
    strands = np.interp((across + 2) * 5, np.arange(21), rng.uniform(-0.22, 0.12, 21)).astype(np.float32)
    length = np.sqrt(np.clip(1 - across**2, 0, 1)) * np.float32(0.85) + strands
    feather = np.float32(min(1.0, soft / (0.13 * radius)))
    lengthwise = (np.abs(window.along / np.float32(radius)) - length) * np.float32(radius) * feather
    return np.maximum(lengthwise, (np.abs(across) - 1) * np.float32(short))


def preretinal(window: Window, radius: float, stretch: float) -> np.ndarray:
    """Distance to the edge of a boat: blood that has sunk below a level line; in pixels, negative inside."""
    short = radius / stretch
    hull = np.sqrt((window.along / radius) ** 2 + ((window.across + short) / (2 * short)) ** 2) - 1
    return np.maximum(hull * short, -window.across - 0.8 * short).astype(np.float32)


def cover_of(distance: np.ndarray, soft: float) -> np.ndarray:
    """Turn distance (pixels) into opacity 0..1 that falls from 0.88 to 0.12 within ``soft`` pixels to either side."""
    return 1 / (1 + np.exp(np.clip(2 * distance / np.float32(max(soft, 0.35)), -30, 30)))


def absorb(image: np.ndarray, window: Window, cover: np.ndarray, depth: tuple[float, float, float]) -> None:
    """Darken a window of a (3, height, width) photo by optical ``depth`` in red, green, blue where ``cover`` is 1."""
    for channel in range(3):
        image[channel][window.where] *= np.exp(-np.float32(depth[channel]) * cover)


def tint(
    image: np.ndarray, window: Window, cover: np.ndarray, gain: tuple[float, ...], offset: tuple[float, ...]
) -> None:
    """Blend a window towards ``gain`` × itself + ``offset`` where ``cover`` is 1."""
    for channel in range(3):
        view = image[channel][window.where]
        view += cover * (view * np.float32(gain[channel] - 1) + np.float32(offset[channel]))


def lighten(
    image: np.ndarray, window: Window, cover: np.ndarray, gain: tuple[float, ...], offset: tuple[float, ...]
) -> None:
    """Blend a window towards ``gain`` × its median + ``offset``, never darker, so that deposits may overlap."""
    for channel in range(3):
        view = image[channel][window.where]
        if view.size:
            target = np.float32(gain[channel] * np.median(view) + offset[channel])
            view += cover * np.maximum(target - view, 0)


def stamp(image: np.ndarray, masks: dict[str, np.ndarray], lesion: Lesion, geometry: Geometry) -> None:
    """Draw ``lesion`` into ``image`` float32 (3, height, width) and into its mask bool (height, width), in place."""
    rng = np.random.default_rng(lesion.seed)
    radius, pixel = lesion.radius * geometry.diameter, geometry.pixel
    window = open_window(geometry, lesion.centre, 1.6 * radius + 8 * pixel + 2, lesion.angle)
    if lesion.form == "deposit":
        distance = blob(rng, window, radius, lesion.stretch, 0.17)
        cover = cover_of(distance, max(3.4 * pixel, 0.2 * radius)) * np.float32(0.12 + 0.78 * lesion.strength**1.3)
        lighten(image, window, cover, (1.14, 1.4, 1.1), (34.0, 66.0, 16.0))
    elif lesion.form == "cotton wool":
        distance = blob(rng, window, radius, lesion.stretch, 0.09)
        texture = 1 + 0.2 * smooth_noise(rng, distance.shape, max(0.3 * radius, 1.0))
        cover = cover_of(distance + 0.12 * np.float32(radius), 0.22 * radius) * texture
        tint(image, window, cover * np.float32(0.3 + 0.55 * lesion.strength), (1.04, 1.2, 1.2), (12.0, 24.0, 16.0))
    else:
        small = lesion.kind == "microaneurysm"
        if lesion.form == "flame":
            soft = 4 * pixel
            distance = flame(rng, window, radius, lesion.stretch, soft)
        elif lesion.form == "preretinal":
            distance, soft = preretinal(window, radius, lesion.stretch), 5 * pixel
        else:
            distance = blob(rng, window, radius, lesion.stretch, 0.04 if small else 0.14)
            soft = (2.6 if small else 4.5) * pixel
        texture = np.float32(1.0)
        if lesion.kind == "haemorrhage":
            texture = 1 + 0.11 * smooth_noise(rng, distance.shape, max(0.5 * radius, 1.0))
        # A microaneurysm is blurred away more than what is larger, so that it takes more blood to be seen.
        plain = 0.16 + 0.5 * lesion.strength if small else 0.10 + 0.45 * lesion.strength
        cover = cover_of(distance, soft) * np.float32(plain) * texture
        absorb(image, window, cover, BLOOD)
    masks[lesion.kind][window.where] |= distance < 0
