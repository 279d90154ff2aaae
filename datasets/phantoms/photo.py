"""Put a phantom together: fundus, near-misses, lesions, camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinylesions.datasets.lesions import LESIONS
from tinylesions.datasets.phantoms.background import disc_mask, draw_background
from tinylesions.datasets.phantoms.camera import expose
from tinylesions.datasets.phantoms.geometry import Geometry, draw_geometry
from tinylesions.datasets.phantoms.lesions import Lesion, grade_of, plan_lesions
from tinylesions.datasets.phantoms.near_misses import draw_near_misses
from tinylesions.datasets.phantoms.new_vessels import grow_new_vessels
from tinylesions.datasets.phantoms.noise import random_stream, upsample
from tinylesions.datasets.phantoms.stamps import stamp

__all__ = ["FULL_SIZE", "SMALLEST", "FundusPhantom", "compose", "draw_fundus", "photo_geometry", "random_grade"]

FULL_SIZE = (2848, 4288)
"""(height, width) of IDRiD's photos."""

SMALLEST = (192, 256)
"""Least (height, width): below it the lesions of grade 3 find no room."""

FUNDUS_DIAMETER = 1300  # the fundus, which is smooth, is drawn at about this diameter at most and then enlarged


@dataclass(frozen=True)
class FundusPhantom:
    """A procedural fundus photo and all that is true of it.

    Args:
        photo: uint8 (height, width, 3), red, green, blue.
        masks: lesion (one of LESIONS) to bool (height, width); a lesion that is absent has no entry.
        optic_disc: bool (height, width).
        grade: of diabetic retinopathy, 0..4, as `grade_of` derives it.
    """

    photo: np.ndarray
    masks: dict[str, np.ndarray]
    optic_disc: np.ndarray
    grade: int


def compose(
    seed: int, geometry: Geometry, lesions: Sequence[Lesion], new_vessels: bool
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw the photo of ``seed`` with the given lesions.

    Returns:
        The photo, uint8 (height, width, 3), and the masks of the lesions that are present, bool (height, width).
    """
    factor = max(1, round(geometry.diameter / FUNDUS_DIAMETER))
    height, width = geometry.size
    extra = grow_new_vessels(seed, geometry) if new_vessels else []
    fundus = draw_background(seed, geometry.shrunk(factor), extra)
    box = (0.0, 0.0, width / factor, height / factor)
    image = np.stack([upsample(channel, geometry.size, box) for channel in fundus])
    draw_near_misses(seed, geometry, image)
    masks = {kind: np.zeros(geometry.size, bool) for kind in LESIONS if any(lesion.kind == kind for lesion in lesions)}
    for lesion in lesions:
        stamp(image, masks, lesion, geometry)
    return expose(seed, geometry, image), masks


def photo_geometry(seed: int, size: tuple[int, int]) -> Geometry:
    """Return the places of the photo that `draw_fundus` draws from the same seed and size."""
    return draw_geometry(random_stream(seed, "geometry"), (int(size[0]), int(size[1])))


def random_grade(seed: int) -> int:
    """Draw a grade 0..4, four times in five 2 to 4, so that most photos have most lesions."""
    return int(random_stream(seed, "grade").choice(5, p=[0.08, 0.1, 0.36, 0.24, 0.22]))


def draw_fundus(seed: int, size: tuple[int, int] = FULL_SIZE, grade: int | None = None) -> FundusPhantom:
    """Draw a fundus photo with its lesions, their exact masks and its grade.

    Args:
        seed: the same seed and size give the same bytes.
        size: (height, width) in pixels, (192, 256) at least; everything scales with the field of view.
        grade: of diabetic retinopathy, 0..4; None draws one, mostly 2 to 4.

    Raises:
        ValueError: a size that is too small or a grade out of range.

    Example:
        >>> phantom = draw_fundus(seed=1, size=(356, 536), grade=3)
        >>> phantom.photo.shape, sorted(phantom.masks)
        ((356, 536, 3), ['haemorrhage', 'hard_exudate', 'microaneurysm', 'soft_exudate'])
    """
    if size[0] < SMALLEST[0] or size[1] < SMALLEST[1]:
        raise ValueError(f"size is {size}; draw phantoms of at least {SMALLEST} pixels (height, width)")
    if grade not in (None, 0, 1, 2, 3, 4):
        raise ValueError(f"grade is {grade!r}; give 0, 1, 2, 3 or 4")
    geometry = photo_geometry(seed, size)
    if grade is None:
        grade = random_grade(seed)
    lesions = plan_lesions(seed, geometry, grade)
    photo, masks = compose(seed, geometry, lesions, new_vessels=grade == 4)
    return FundusPhantom(photo, masks, disc_mask(seed, geometry), grade_of(lesions, new_vessels=grade == 4))
