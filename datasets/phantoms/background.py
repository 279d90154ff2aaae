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
VEIN, ARTERY, NEW_VESSEL = (0.20, 0.46, 0.40), (0.07, 0.30, 0.26), (0.10, 0.36, 0.30)


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


def _retina(seed: int, geometry: Geometry) -> np.ndarray:
    """Colour of the fundus before disc and vessels, float32 (3, height, width), 0..255."""
    rng = random_stream(seed, "retina")
    size, diameter = geometry.size, geometry.diameter
    x, y = geometry.axes()
    tone = np.array(TONES[rng.integers(len(TONES))], np.float32) * rng.uniform(0.8, 1.03) * rng.normal(1, 0.03, 3)
    lean = rng.uniform(-0.35, 0.35, 2)
    radius2 = x * x + y * y
    light = 1.06 + lean[0] * x + lean[1] * y - np.float32(rng.uniform(0.3, 1.1)) * radius2
    light = light + 0.05 * smooth_noise(rng, size, 0.33 * diameter)
    temporal = (x - geometry.disc[0]) ** 2 + (y - geometry.disc[1]) ** 2
    light += np.float32(rng.uniform(0.08, 0.25)) * np.exp(-temporal / np.float32(rng.uniform(0.02, 0.06)))
    macula = (x - geometry.fovea[0]) ** 2 + (y - geometry.fovea[1]) ** 2
    depth = np.float32(rng.uniform(0.15, 0.4)) * np.exp(-macula / np.float32(rng.uniform(0.0016, 0.004)))
    depth += np.float32(rng.uniform(0.05, 0.18)) * np.exp(-macula / np.float32(0.02))
    depth += 0.025 * smooth_noise(rng, size, 0.05 * diameter, octaves=3)
    # Choroidal vessels: level lines of a random field, redder than what lies between, away from the macula.
    strands = smooth_noise(rng, size, 0.055 * diameter, octaves=2)
    strands = (
        np.exp(-((strands / 0.22) ** 2)) * np.float32(rng.uniform(0, 0.16)) * (1 - np.exp(-macula / np.float32(0.05)))
    )
    grain = 0.015 * smooth_noise(rng, size, 0.0036 * diameter, octaves=2)
    image = np.empty((3, *size), np.float32)
    for channel, (pigment, strand, grainy) in enumerate(((0.55, -0.35, 0.6), (1.0, 0.7, 1.0), (0.9, 0.2, 1.2))):
        image[channel] = tone[channel] * light * np.exp(-pigment * depth - strand * strands + grainy * grain)
    # Nerve-fibre sheen: fine pale streaks that leave the disc and fade.
    angle = np.arctan2(y - geometry.disc[1], x - geometry.disc[0])
    profile = np.convolve(rng.standard_normal(1440), [0.25, 0.5, 0.25], "same").astype(np.float32)
    streaks = np.interp((angle * 229.18) % 1440, np.arange(1440), profile).astype(np.float32)
    arcs = np.exp(-(((np.abs(np.sin(angle)) - 0.85) / 0.22) ** 2)) * np.exp(-temporal / np.float32(0.035))
    sheen = arcs * (0.6 + 0.4 * streaks) * np.float32(rng.uniform(0.0, 14.0))
    haze_edge = np.clip((np.sqrt(radius2) - 0.40) / 0.1, 0, 1) ** 2
    side = np.clip(0.5 + 2.0 * (np.cos(rng.uniform(0, 6.28)) * x + np.sin(rng.uniform(0, 6.28)) * y), 0, 1)
    haze = haze_edge * side * np.float32(max(rng.uniform(-25, 45), 0))
    for channel, (shine, veil) in enumerate(((0.8, 0.45), (1.0, 0.9), (0.8, 0.8))):
        image[channel] += shine * sheen + veil * haze
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
    texture = 1.2 * smooth_noise(rng, geometry.size, 0.006 * geometry.diameter)
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
