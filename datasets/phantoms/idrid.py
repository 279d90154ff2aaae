"""Write phantoms in IDRiD's official folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tinylesions.datasets.idrid import LESION_FOLDERS, OPTIC_DISC_FOLDER
from tinylesions.datasets.lesions import LESION_CODES, LESIONS
from tinylesions.datasets.masks import write_mask
from tinylesions.datasets.phantoms.noise import random_stream
from tinylesions.datasets.phantoms.photo import FULL_SIZE, FundusPhantom, draw_fundus, photo_geometry

__all__ = [
    "JPEG_QUALITY",
    "grading_grade",
    "photo_seed",
    "segmentation_grade",
    "write_idrid_grading",
    "write_idrid_segmentation",
]

JPEG_QUALITY = 92
OFFICIAL_TRAINING = 54  # photos in IDRiD's training split: the testing photos are numbered on from here


def photo_seed(seed: int, split: str, index: int) -> int:
    """Return the seed of the photo ``index`` of a split, so that splits and data sets do not share photos."""
    return int(random_stream(seed, split, str(index)).integers(2**31))


def segmentation_grade(index: int) -> int:
    """Return the grade of photo ``index`` of a segmentation split: 3 first, because those have all four lesions."""
    return (3, 2, 4)[index % 3]


def grading_grade(index: int) -> int:
    """Return the grade of photo ``index`` of a grading split: they go round, so that a handful of photos has all."""
    return (2, 0, 3, 4, 1)[index % 5]


def _edema_risk(phantom: FundusPhantom, seed: int, size: tuple[int, int]) -> int:
    """Return IDRiD's risk of macular oedema 0..2, from the hard exudates' distance to the fovea."""
    if "hard_exudate" not in phantom.masks:
        return 0
    geometry = photo_geometry(seed, size)
    fovea = geometry.to_pixels(np.array(geometry.fovea))
    rows, columns = np.nonzero(phantom.masks["hard_exudate"])
    nearest = np.hypot(columns - fovea[0], rows - fovea[1]).min()
    return 2 if nearest <= 2 * geometry.disc_radius * geometry.diameter else 1


def write_idrid_segmentation(
    root: str | Path,
    training: int,
    testing: int,
    size: tuple[int, int] = FULL_SIZE,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> Path:
    """Write `A. Segmentation`: JPEG photos and palette TIFF masks of {0, 1}; an absent lesion has no file.

    Args:
        root: folder that gets `A. Segmentation`; made if missing.
        training: number of photos, numbered from IDRiD_01.
        testing: number of photos, numbered from IDRiD_55, or from ``training`` + 1 where that is more.
        size: (height, width) of the photos.
        seed: the same seed and size give the same photos.
        progress: called after each photo.

    Returns:
        ``root``.
    """
    base = Path(root) / "A. Segmentation"
    first_testing = max(OFFICIAL_TRAINING, training) + 1
    for split, first, count in (("a. Training Set", 1, training), ("b. Testing Set", first_testing, testing)):
        photos = base / "1. Original Images" / split
        truths = base / "2. All Segmentation Groundtruths" / split
        for folder in (photos, *(truths / name for name in (*LESION_FOLDERS.values(), OPTIC_DISC_FOLDER))):
            folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            name = f"IDRiD_{first + index:02d}"
            phantom = draw_fundus(photo_seed(seed, f"idrid {split}", index), size, segmentation_grade(index))
            Image.fromarray(phantom.photo).save(photos / f"{name}.jpg", quality=JPEG_QUALITY)
            for lesion in LESIONS:
                if lesion in phantom.masks:
                    file = f"{name}_{LESION_CODES[lesion]}.tif"
                    write_mask(truths / LESION_FOLDERS[lesion] / file, phantom.masks[lesion])
            write_mask(truths / OPTIC_DISC_FOLDER / f"{name}_OD.tif", phantom.optic_disc)
            if progress is not None:
                progress()
    return Path(root)


def write_idrid_grading(
    root: str | Path,
    training: int,
    testing: int,
    size: tuple[int, int] = FULL_SIZE,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> Path:
    """Write `B. Disease Grading`: JPEG photos and the two CSVs of grades; both splits number from IDRiD_001.

    The risk of macular oedema is 0 without hard exudates, 2 where one lies within one disc diameter of the fovea, else
    1. Grades go round 0..4, so that a handful of photos has them all. Arguments and result are those of
    `write_idrid_segmentation`.
    """
    base = Path(root) / "B. Disease Grading"
    truths = base / "2. Groundtruths"
    truths.mkdir(parents=True, exist_ok=True)
    for split, table, count in (
        ("a. Training Set", "a. IDRiD_Disease Grading_Training Labels.csv", training),
        ("b. Testing Set", "b. IDRiD_Disease Grading_Testing Labels.csv", testing),
    ):
        photos = base / "1. Original Images" / split
        photos.mkdir(parents=True, exist_ok=True)
        rows = ["Image name,Retinopathy grade,Risk of macular edema"]
        for index in range(count):
            name = f"IDRiD_{index + 1:03d}"
            drawn = photo_seed(seed, f"idrid grading {split}", index)
            phantom = draw_fundus(drawn, size, grading_grade(index))
            Image.fromarray(phantom.photo).save(photos / f"{name}.jpg", quality=JPEG_QUALITY)
            rows.append(f"{name},{phantom.grade},{_edema_risk(phantom, drawn, size)}")
            if progress is not None:
                progress()
        (truths / table).write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\r\n")
    return Path(root)
