"""How far a fixed detector without learning gets on phantoms: top-hat of the green channel.

    python benchmarks/top_hat_baseline.py --photos 6 --height 712 --width 1072

Prints the average precision of each lesion, over the pixels of all photos pooled, and their mean. Dark lesions are
scored by the black top-hat, bright ones by the white top-hat, each with a disk a little wider than the lesion, after a
Gaussian of a quarter of the smallest lesion; the score is 0 outside the field of view.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np
from scipy import ndimage
from skimage import morphology
from sklearn.metrics import average_precision_score

from tinylesions.datasets.lesions import LESIONS
from tinylesions.datasets.phantoms import FundusPhantom, draw_fundus

FULL_WIDTH = 4288
# Lesion: bright or dark, radius of the disk and deviation of the Gaussian in pixels of a photo 4288 wide.
SCALES = {
    "microaneurysm": (False, 18, 3.0),
    "haemorrhage": (False, 60, 5.0),
    "hard_exudate": (True, 32, 2.5),
    "soft_exudate": (True, 90, 10.0),
}


def top_hat_score(photo: np.ndarray, lesion: str) -> np.ndarray:
    """Score each pixel of a photo uint8 (height, width, 3); float32 (height, width), higher is more likely."""
    bright, radius, deviation = SCALES[lesion]
    scale = photo.shape[1] / FULL_WIDTH
    green = ndimage.gaussian_filter(photo[..., 1].astype(np.float32), deviation * scale)
    footprint = morphology.disk(max(round(radius * scale), 2), decomposition="sequence")
    score = (morphology.white_tophat if bright else morphology.black_tophat)(green, footprint)
    view = ndimage.binary_erosion(
        ndimage.binary_fill_holes(photo.max(axis=2) > 15), iterations=max(round(25 * scale), 2)
    )
    return score * view


def mean_average_precision(phantoms: Iterable[FundusPhantom]) -> dict[str, float]:
    """Return the average precision of each lesion over all pixels pooled, and their mean."""
    scores: dict[str, list[np.ndarray]] = {lesion: [] for lesion in LESIONS}
    truths: dict[str, list[np.ndarray]] = {lesion: [] for lesion in LESIONS}
    for phantom in phantoms:
        absent = np.zeros(phantom.photo.shape[:2], bool)
        for lesion in LESIONS:
            scores[lesion].append(top_hat_score(phantom.photo, lesion).ravel())
            truths[lesion].append(phantom.masks.get(lesion, absent).ravel())
    result = {
        lesion: float(average_precision_score(np.concatenate(truths[lesion]), np.concatenate(scores[lesion])))
        for lesion in LESIONS
    }
    return {**result, "mean": float(np.mean(list(result.values())))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=6)
    parser.add_argument("--height", type=int, default=712)
    parser.add_argument("--width", type=int, default=1072)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    size = (arguments.height, arguments.width)
    grades = [(3, 2, 4)[index % 3] for index in range(arguments.photos)]
    phantoms = (draw_fundus(arguments.seed + index, size, grade) for index, grade in enumerate(grades))
    for lesion, value in mean_average_precision(phantoms).items():
        print(f"{lesion:15s} {value:.3f}")


if __name__ == "__main__":
    main()
