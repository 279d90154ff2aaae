"""Write OCTA phantoms in DRAC2022's official folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tinylesions.datasets.drac import IMAGES, LESION_FOLDERS, MASKS, TESTING, TRAINING
from tinylesions.datasets.lesions import OCTA_LESIONS
from tinylesions.datasets.phantoms.idrid import photo_seed
from tinylesions.datasets.phantoms.octa import OCTA_SIZE, draw_octa

__all__ = ["image_lesions", "image_numbers", "write_drac"]

# Which images of each twelve hold which lesion, in the order of OCTA_LESIONS: about the shares 86, 106 and 35 of 109.
# Among the first six each is there at least three times and absent at least once.
HOLDERS = ((0, 1, 2, 4, 5, 6, 7, 9, 11), (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11), (0, 2, 5, 8))
ROUND = 12


def image_lesions(index: int) -> list[str]:
    """Return the lesions of image ``index`` of a set; they go round, so that a handful of images has them all."""
    return [lesion for lesion, held in zip(OCTA_LESIONS, HOLDERS, strict=True) if index % ROUND in held]


def image_numbers(training: int, test: int) -> tuple[list[int], list[int]]:
    """Return the numbers that name the images of the two sets.

    As in DRAC2022 a number is used once over both sets and has gaps in each, so that 2 comes before 11 only where
    names are sorted as numbers. The testing images lie evenly between the others.

    Example:
        >>> image_numbers(4, 2)
        ([2, 8, 11, 17], [5, 14])
    """
    total = training + test
    tested = {(2 * index + 1) * total // (2 * test) for index in range(test)}
    return (
        [3 * place + 2 for place in range(total) if place not in tested],
        [3 * place + 2 for place in sorted(tested)],
    )


def write_drac(
    root: str | Path,
    training: int,
    test: int,
    *,
    size: tuple[int, int] = OCTA_SIZE,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> Path:
    """Write `A. Segmentation`: grey PNG images and masks of {0, 255}; an absent lesion has no file.

    The testing images have no masks, as the challenge gives them.

    Args:
        root: folder that gets `A. Segmentation`; made if missing.
        training: number of training images.
        test: number of testing images.
        size: (height, width) of the images.
        seed: the same seed and size give the same images.
        progress: called after each image.

    Returns:
        ``root``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     images = sorted(path.name for path in write_drac(folder, 2, 1, size=(128, 128)).glob("*/1*/*/*.png"))
        >>> images
        ['2.png', '5.png', '8.png']
    """
    base = Path(root) / "A. Segmentation"
    for lesion in OCTA_LESIONS:
        (base / MASKS / TRAINING / LESION_FOLDERS[lesion]).mkdir(parents=True, exist_ok=True)
    for split, numbers in zip((TRAINING, TESTING), image_numbers(training, test), strict=True):
        images = base / IMAGES / split
        images.mkdir(parents=True, exist_ok=True)
        for index, number in enumerate(numbers):
            phantom = draw_octa(size, photo_seed(seed, f"drac {split}", index), image_lesions(index))
            Image.fromarray(phantom.image).save(images / f"{number}.png")
            if split == TRAINING:
                for lesion, mask in phantom.masks.items():
                    file = base / MASKS / split / LESION_FOLDERS[lesion] / f"{number}.png"
                    Image.fromarray(mask.astype(np.uint8) * 255).save(file)
            if progress is not None:
                progress()
    return Path(root)
