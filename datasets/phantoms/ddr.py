"""Write phantoms in DDR's official folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tinylesions.datasets.lesions import LESION_CODES, LESIONS
from tinylesions.datasets.phantoms.idrid import JPEG_QUALITY, grading_grade, photo_seed, segmentation_grade
from tinylesions.datasets.phantoms.noise import random_stream
from tinylesions.datasets.phantoms.photo import FULL_SIZE, SMALLEST, FundusPhantom, draw_fundus

__all__ = ["write_ddr_grading", "write_ddr_segmentation"]

LABEL_FOLDERS = {"train": "label", "valid": "segmentation label", "test": "label"}


def _draw(seed: int, split: str, index: int, size: tuple[int, int], grade: int) -> FundusPhantom:
    """Draw a photo of 0.8 to 1 times ``size``, since DDR's come from many cameras."""
    drawn = photo_seed(seed, split, index)
    share = random_stream(drawn, "ddr size").uniform(0.8, 1.0)
    # A small ``size`` varies less, since `draw_fundus` has a lower limit.
    height, width = (
        max(round(length * share), min(length, least)) for length, least in zip(size, SMALLEST, strict=True)
    )
    return draw_fundus(drawn, (height, width), grade)


def write_ddr_segmentation(
    root: str | Path,
    train: int,
    valid: int,
    test: int,
    size: tuple[int, int] = FULL_SIZE,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> Path:
    """Write `lesion_segmentation`: JPEG photos and 8-bit TIFF masks of {0, 255}, all black where a lesion is absent.

    Args:
        root: folder that gets `lesion_segmentation`; made if missing.
        train: number of photos, like ``valid`` and ``test``.
        valid: its masks lie in `valid/segmentation label`, those of the others in `label`, as in the official archive.
        test: number of photos.
        size: (height, width) of the largest photos; each is 0.8 to 1 times as large.
        seed: the same seed and size give the same photos.
        progress: called after each photo.

    Returns:
        ``root``.
    """
    base = Path(root) / "lesion_segmentation"
    for number, (split, count) in enumerate({"train": train, "valid": valid, "test": test}.items(), start=1):
        photos, labels = base / split / "image", base / split / LABEL_FOLDERS[split]
        for folder in (photos, *(labels / code for code in LESION_CODES.values())):
            folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            name = f"007-{number:04d}-{index:03d}"
            phantom = _draw(seed, f"ddr {split}", index, size, segmentation_grade(index))
            Image.fromarray(phantom.photo).save(photos / f"{name}.jpg", quality=JPEG_QUALITY)
            absent = np.zeros(phantom.photo.shape[:2], bool)
            for lesion in LESIONS:
                mask = phantom.masks.get(lesion, absent).astype(np.uint8) * 255
                path = labels / LESION_CODES[lesion] / f"{name}.tif"
                Image.fromarray(mask).save(path, compression="tiff_adobe_deflate")
            if progress is not None:
                progress()
    return Path(root)


def write_ddr_grading(
    root: str | Path,
    train: int,
    valid: int,
    test: int,
    size: tuple[int, int] = FULL_SIZE,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> Path:
    """Write `DR_grading`: a folder of JPEG photos and a list `<split>.txt` of `name.jpg grade` for each split.

    Grades go round 0..4; the official 5 (ungradable) does not occur. Arguments and result are those of
    `write_ddr_segmentation`.
    """
    base = Path(root) / "DR_grading"
    for number, (split, count) in enumerate({"train": train, "valid": valid, "test": test}.items(), start=1):
        photos = base / split
        photos.mkdir(parents=True, exist_ok=True)
        lines = []
        for index in range(count):
            name = f"007-{number + 3:04d}-{index:03d}.jpg"
            phantom = _draw(seed, f"ddr grading {split}", index, size, grading_grade(index))
            Image.fromarray(phantom.photo).save(photos / name, quality=JPEG_QUALITY)
            lines.append(f"{name} {phantom.grade}\n")
            if progress is not None:
                progress()
        (base / f"{split}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
    return Path(root)
