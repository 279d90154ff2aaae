"""Put an OCTA phantom together: a wide en-face angiogram with its lesions and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinylesions.datasets.lesions import OCTA_LESIONS
from tinylesions.datasets.phantoms.noise import random_stream
from tinylesions.datasets.phantoms.octa_nonperfusion import nonperfusion_areas
from tinylesions.datasets.phantoms.octa_retina import FULL_SIDE, draw_mesh, draw_vessels, octa_geometry, octa_vessels
from tinylesions.datasets.phantoms.octa_scan import draw_motion, draw_signal, expose_octa, shift_rows
from tinylesions.datasets.phantoms.octa_vascular import (
    draw_microvascular_abnormalities,
    draw_neovascularisation,
    draw_tortuous_vessels,
)

__all__ = ["OCTA_SIZE", "SMALLEST_OCTA", "OctaPhantom", "draw_octa", "random_lesions"]

OCTA_SIZE = (FULL_SIDE, FULL_SIDE)
"""(height, width) of DRAC2022's images."""

SMALLEST_OCTA = (128, 128)
"""Least (height, width): below it capillaries and lesions are no wider than a pixel."""

ABNORMALITY, NONPERFUSION, NEOVASCULARISATION = OCTA_LESIONS
SHARES = {ABNORMALITY: 86 / 109, NONPERFUSION: 106 / 109, NEOVASCULARISATION: 35 / 109}
"""Share of DRAC2022's training images that hold each lesion."""


@dataclass(frozen=True)
class OctaPhantom:
    """A procedural OCTA image and what is true of it.

    Args:
        image: uint8 (height, width).
        masks: lesion (one of OCTA_LESIONS) to bool (height, width); a lesion that is absent has no entry. Masks may
            overlap.
    """

    image: np.ndarray
    masks: dict[str, np.ndarray]


def random_lesions(seed: int) -> list[str]:
    """Draw the lesions of an image, each as often as DRAC2022's training images have it."""
    rng = random_stream(seed, "octa lesions")
    return [lesion for lesion in OCTA_LESIONS if rng.uniform() < SHARES[lesion]]


def draw_octa(size: tuple[int, int] = OCTA_SIZE, seed: int = 0, lesions: Sequence[str] | None = None) -> OctaPhantom:
    """Draw a wide-field en-face OCTA image of 12×12 mm with its lesions and their masks.

    Without masks of their own it holds what resembles them: the foveal avascular zone, shadows, motion lines, winding
    normal vessels.

    Args:
        size: (height, width) in pixels, (128, 128) at least; everything scales with the mean side.
        seed: the same seed, size and lesions give the same bytes. The healthy retina does not depend on the lesions.
        lesions: those to draw, some of OCTA_LESIONS; None draws each as often as DRAC2022 has it.

    Raises:
        ValueError: a size that is too small or a name that is no lesion of an OCTA image.

    Example:
        >>> phantom = draw_octa((256, 256), seed=1, lesions=["nonperfusion_area"])
        >>> phantom.image.shape, list(phantom.masks)
        ((256, 256), ['nonperfusion_area'])
    """
    size = (int(size[0]), int(size[1]))
    if size[0] < SMALLEST_OCTA[0] or size[1] < SMALLEST_OCTA[1]:
        raise ValueError(f"size is {size}; draw OCTA phantoms of at least {SMALLEST_OCTA} pixels (height, width)")
    if lesions is None:
        lesions = random_lesions(seed)
    unknown = set(lesions) - set(OCTA_LESIONS)
    if unknown:
        raise ValueError(f"{sorted(unknown)} are no lesions of an OCTA image; name some of {', '.join(OCTA_LESIONS)}")

    geometry = octa_geometry(seed, size)
    vessels = octa_vessels(seed, geometry)
    nonperfused, lost = np.zeros(size, bool), np.zeros(size, np.float32)
    found: dict[str, np.ndarray] = {}
    if NONPERFUSION in lesions:
        nonperfused, lost = nonperfusion_areas(seed, geometry)
        found[NONPERFUSION] = nonperfused
    flow = np.maximum(0.55 * draw_mesh(seed, geometry, lost), draw_vessels(vessels, geometry, lost))
    draw_tortuous_vessels(seed, geometry, flow, lost)
    if ABNORMALITY in lesions:
        found[ABNORMALITY] = draw_microvascular_abnormalities(seed, geometry, flow, nonperfused)
    if NEOVASCULARISATION in lesions:
        found[NEOVASCULARISATION] = draw_neovascularisation(seed, geometry, flow, vessels)

    columns = shift_rows(seed, geometry)
    flow = np.take_along_axis(flow, columns, 1)
    masks = {lesion: np.take_along_axis(found[lesion], columns, 1) for lesion in OCTA_LESIONS if lesion in found}
    draw_motion(seed, geometry, flow)
    return OctaPhantom(expose_octa(seed, geometry, flow, draw_signal(seed, geometry)), masks)
