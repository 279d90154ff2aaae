"""The healthy fundus: colour, illumination, choroid, nerve-fibre sheen, macula, optic disc and vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinylesions.datasets.phantoms.geometry import Geometry
from tinylesions.datasets.phantoms.noise import random_stream, smooth_noise
from tinylesions.datasets.phantoms.vessel_drawing import trace_vessels
from tinylesions.datasets.phantoms.vessels import Vessel, grow_vessels

__all__ = ["disc_mask", "draw_background"]

# Mean red, green, blue of the field of view in photos of IDRiD: orange, brown, pinkish, greyish, yellow.
TONES = ((186, 88, 36), (172, 84, 28), (196, 104, 30), (204, 88, 16), (168, 96, 68), (192, 116, 34), (150, 70, 22))
# Optical depth of blood at full thickness in red, green, blue.
VEIN, ARTERY, NEW_VESSEL = (0.13, 0.48, 0.44), (0.05, 0.30, 0.27), (0.10, 0.36, 0.30)


@dataclass(frozen=True)
class _DiscShape:
    ratio: float
    tilt: float
    wobble: tuple[float, float]


def _disc_shape(seed: int) -> _DiscShape:
    rng = random_stream(seed, "disc shape")
    return _DiscShape(rng.uniform(1.0, 1.14), rng.uniform(-0.3, 0.3), (rng.uniform(0, 0.03), rng.uniform(0, 6.28)))


def _disc_distance(seed: int, geometry: Geometry) -> np.ndarray:
    """Distance of each pixel from the centre of the optic disc, 1 on its edge; float32 (height, width)."""
    shape = _disc_shape(seed)
    x, y = geometry.axes()
    x, y = x - np.float32(geometry.disc[0]), y - np.float32(geometry.disc[1])
    across = x * np.cos(shape.tilt, dtype=np.float32) + y * np.sin(shape.tilt, dtype=np.float32)
    upright = (y * np.cos(shape.tilt, dtype=np.float32) - x * np.sin(shape.tilt, dtype=np.float32)) / np.float32(
        shape.ratio
    )
    angle = np.arctan2(y, x)
    edge = geometry.disc_radius * (1 + shape.wobble[0] * np.cos(3 * angle + np.float32(shape.wobble[1])))
    return np.sqrt(across**2 + upright**2) / edge


def disc_mask(seed: int, geometry: Geometry) -> np.ndarray:
    """Return the pixels of the optic disc, bool (height, width)."""
    mask = np.zeros(geometry.size, bool)
    x, y = geometry.to_pixels(np.array(geometry.disc))
    reach = 1.3 * geometry.disc_radius * geometry.diameter
    left, top = max(int(x - reach), 0), max(int(y - reach), 0)
    right, bottom = min(int(x + reach), geometry.size[1]), min(int(y + reach), geometry.size[0])
    corner = (geometry.centre[0] - left, geometry.centre[1] - top)
    window = Geometry(
        (bottom - top, right - left), geometry.diameter, corner, geometry.temporal, geometry.disc, geometry.disc_radius,
        geometry.fovea,
    )  # fmt: skip
    mask[top:bottom, left:right] = _disc_distance(seed, window) < 1
    return mask


def _squared_distance(geometry: Geometry, place: tuple[float, float]) -> np.ndarray:
    x, y = geometry.axes()
    return (x - np.float32(place[0])) ** 2 + (y - np.float32(place[1])) ** 2


def _illumination(rng: np.random.Generator, geometry: Geometry) -> np.ndarray:
    """Light that reaches each pixel, about 1: uneven, fading to the rim, with a glow around the disc."""
    x, y = geometry.axes()
    lean = rng.uniform(-0.45, 0.45, 2).astype(np.float32)
    light = 1.06 + lean[0] * x + lean[1] * y - np.float32(rng.uniform(0.3, 1.1)) * (x * x + y * y)
    light += 0.068 * smooth_noise(rng, geometry.size, 0.33 * geometry.diameter)
    glow, spread = np.float32(rng.uniform(0.08, 0.25)), np.float32(rng.uniform(0.02, 0.06))
    return light + glow * np.exp(-_squared_distance(geometry, geometry.disc) / spread)


def _pigment(rng: np.random.Generator, geometry: Geometry) -> np.ndarray:
    """Optical depth of pigment: dense at the fovea, patchy elsewhere."""
    distance = _squared_distance(geometry, geometry.fovea)
    depth = np.float32(rng.uniform(0.15, 0.4)) * np.exp(-distance / np.float32(rng.uniform(0.0016, 0.004)))
    depth += np.float32(rng.uniform(0.05, 0.18)) * np.exp(-distance / np.float32(0.02))
    return depth + 0.034 * smooth_noise(rng, geometry.size, 0.05 * geometry.diameter, octaves=3)


def _choroid(rng: np.random.Generator, geometry: Geometry) -> np.ndarray:
    """Choroidal vessels, 0..0.16: level lines of a random field, away from the macula."""
    strands = smooth_noise(rng, geometry.size, 0.055 * geometry.diameter, octaves=2)
    away = 1 - np.exp(-_squared_distance(geometry, geometry.fovea) / np.float32(0.05))
    return np.float32(rng.uniform(0, 0.16)) * away * np.exp(-((strands / np.float32(0.16)) ** 2))


def _sheen(rng: np.random.Generator, geometry: Geometry) -> np.ndarray:
    """Nerve-fibre sheen, grey levels: fine pale streaks that leave the disc above and below and fade."""
    x, y = geometry.axes()
    angle = np.arctan2(y - np.float32(geometry.disc[1]), x - np.float32(geometry.disc[0]))
    profile = np.convolve(rng.standard_normal(1440), [0.25, 0.5, 0.25], "same").astype(np.float32)
    streaks = profile[((angle + np.float32(np.pi)) * np.float32(1439 / (2 * np.pi))).astype(np.int32)]
    arcs = np.exp(-(((np.abs(np.sin(angle)) - np.float32(0.85)) / np.float32(0.22)) ** 2))
    arcs *= np.exp(-_squared_distance(geometry, geometry.disc) / np.float32(0.035))
    return arcs * (np.float32(0.6) + np.float32(0.4) * streaks) * np.float32(rng.uniform(0.0, 14.0))


def _haze(rng: np.random.Generator, geometry: Geometry) -> np.ndarray:
    """Pale haze on one side of the rim, grey levels; in about every second photo."""
    x, y = geometry.axes()
    turn = rng.uniform(0, 2 * np.pi)
    side = np.clip(0.5 + 2.0 * (np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y), 0, 1)
    rim = np.clip((np.sqrt(x * x + y * y) - np.float32(0.40)) / np.float32(0.1), 0, 1) ** 2
    return rim * side * np.float32(max(rng.uniform(-30, 40), 0))


def _retina(seed: int, geometry: Geometry) -> np.ndarray:
    """Colour of the fundus before disc and vessels, float32 (3, height, width), 0..255."""
    rng = random_stream(seed, "retina")
    tone = np.array(TONES[rng.integers(len(TONES))]) * rng.uniform(0.84, 1.08) * rng.normal(1, 0.03, 3)
    light, pigment, choroid = _illumination(rng, geometry), _pigment(rng, geometry), _choroid(rng, geometry)
    sheen, haze = _sheen(rng, geometry), _haze(rng, geometry)
    grain = smooth_noise(rng, geometry.size, 0.0036 * geometry.diameter, octaves=2)
    image = np.empty((3, *geometry.size), np.float32)
    # How much of each there is in red, green and blue: choroidal vessels are redder than what lies between them.
    for channel, (dark, strand, rough, shine, veil) in enumerate(
        ((0.55, -0.35, 0.012, 0.8, 0.45), (1.0, 0.7, 0.020, 1.0, 0.9), (0.9, 0.2, 0.024, 0.8, 0.8))
    ):
        reflected = np.exp(-np.float32(dark) * pigment - np.float32(strand) * choroid + np.float32(rough) * grain)
        image[channel] = np.float32(tone[channel]) * light * reflected
        image[channel] += np.float32(shine) * sheen + np.float32(veil) * haze
    return image


def _paint_disc(seed: int, geometry: Geometry, image: np.ndarray) -> None:
    """Paint the optic disc: a yellowish rim, redder on the nasal side, and a paler cup."""
    rng = random_stream(seed, "disc")
    distance = _disc_distance(seed, geometry)
    soft = np.float32(rng.uniform(0.05, 0.10))
    cover = 1 / (1 + np.exp(np.clip((distance - 1) / soft * 2, -30, 30)))
    glow = np.float32(rng.uniform(0.05, 0.2)) * np.exp(-np.maximum(distance - 1, 0) / np.float32(0.25)) * (1 - cover)
    x, y = geometry.axes()
    radius = np.float32(geometry.disc_radius)
    cup_x, cup_y = geometry.disc[0] + geometry.temporal * rng.uniform(0.05, 0.2) * radius, geometry.disc[1]
    cup_radius = np.float32(rng.uniform(0.3, 0.52)) * radius
    cup = 1 / (1 + np.exp(np.clip((np.sqrt((x - cup_x) ** 2 + (y - cup_y) ** 2) / cup_radius - 1) * 6, -30, 30)))
    nasal = np.clip(-geometry.temporal * (x - geometry.disc[0]) / radius, 0, 1)
    bright = np.float32(rng.uniform(0.9, 1.05))
    rim = np.array((246, 158, 74), np.float32) * bright + rng.normal(0, 5, 3)
    pale = np.array((255, 208, 128), np.float32) * bright + rng.normal(0, 6, 3)
    # However bright the retina, the disc is brighter.
    around = [float(np.median(channel[np.broadcast_to(distance < 1.0, channel.shape)])) for channel in image]
    rim = np.maximum(rim, np.multiply(around, (1.08, 1.3, 1.35)))
    pale = np.maximum(pale, rim * (1.0, 1.18, 1.3))
    texture = 1.6 * smooth_noise(rng, geometry.size, 0.006 * geometry.diameter)
    for channel in range(3):
        colour = rim[channel] * (1 - (0.03, 0.13, 0.16)[channel] * nasal)
        colour = colour + (pale[channel] - colour) * cup * np.float32(0.85) + texture
        image[channel] += (colour - image[channel]) * (cover * np.float32(0.93) + (0.9, 0.7, 0.5)[channel] * glow)


def draw_background(seed: int, geometry: Geometry, extra: list[Vessel] | None = None) -> np.ndarray:
    """Draw the fundus without lesions.

    Args:
        seed: of the photo.
        geometry: its places and its size.
        extra: new vessels to be drawn over the tree.

    Returns:
        float32 (3, height, width), red, green, blue, 0..255 and not clipped, also outside the field of view.
    """
    image = _retina(seed, geometry)
    _paint_disc(seed, geometry, image)
    rng = random_stream(seed, "vessels")
    vessels = grow_vessels(rng, geometry)
    visible = np.float32(rng.uniform(0.75, 1.15))
    kinds = [
        ([vessel for vessel in vessels if not vessel.artery], VEIN, 0.10),
        ([vessel for vessel in vessels if vessel.artery], ARTERY, 0.16),
        (extra or [], NEW_VESSEL, 0.0),
    ]
    for group, depth, shine in kinds:
        if not group:
            continue
        thickness, reflex = trace_vessels(group, geometry)
        for channel in range(3):
            image[channel] *= np.exp(-visible * np.float32(depth[channel]) * thickness) * (
                1 + np.float32(shine) * reflex
            )
    return image
