"""The stains of a histology phantom: their colours, which vary from slide to slide, and the slide scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

__all__ = ["EOSIN", "HAEMATOXYLIN", "RED", "Staining", "random_staining", "scan_slide"]

HAEMATOXYLIN, EOSIN, RED = 0, 1, 2
"""Planes of a phantom's stain concentrations: what nuclei bind, what fibres bind, and red cells and granules."""

# Optical density in red, green, blue of a stain at concentration 1: near Ruifrok and Johnston 2001 for the first two,
# less pure, as slides are.
OPTICAL_DENSITY = ((0.62, 0.76, 0.29), (0.15, 0.90, 0.30), (0.06, 0.62, 0.58))


@dataclass(frozen=True)
class Staining:
    """How one slide is stained and scanned.

    Args:
        colours: optical density of each stain at concentration 1, float32 (3 stains, 3 colours).
        white: red, green, blue of the empty slide, float32 (3,), 0..255.
        blur: of the scanner, in pixels.
        noise: of the scanner, in grey levels.
    """

    colours: np.ndarray
    white: np.ndarray
    blur: float
    noise: float


def random_staining(rng: np.random.Generator) -> Staining:
    """Draw the staining of a slide: strengths and hues as they differ between laboratories."""
    strength = rng.uniform((0.75, 0.55, 0.8), (1.25, 1.5, 1.15))[:, None]
    hue = rng.normal(0, 0.035, (3, 3)) * strength
    white = rng.uniform(236, 248) + rng.normal(0, 1.5, 3)
    return Staining(
        np.maximum(np.array(OPTICAL_DENSITY) * strength + hue, 0.02).astype(np.float32),
        white.astype(np.float32),
        blur=rng.uniform(0.4, 0.7),
        noise=rng.uniform(1.5, 3.0),
    )


def scan_slide(rng: np.random.Generator, staining: Staining, stains: np.ndarray) -> np.ndarray:
    """Return the scanner's picture of a slide.

    Args:
        rng: source of the noise.
        staining: of the slide.
        stains: concentrations, float32 (3, height, width).

    Returns:
        uint8 (height, width, 3); light falls off as the exponential of the optical density (Beer and Lambert).
    """
    picture = np.empty((*stains.shape[1:], 3), np.uint8)
    flat = np.maximum(stains, 0).reshape(3, -1)
    for channel in range(3):
        density = (staining.colours[:, channel] @ flat).reshape(stains.shape[1:])
        light = ndimage.gaussian_filter(staining.white[channel] * np.exp(-density), staining.blur)
        light += np.float32(staining.noise) * rng.standard_normal(light.shape, dtype=np.float32)
        picture[..., channel] = np.clip(light + 0.5, 0, 255)
    return picture
