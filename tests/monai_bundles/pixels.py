"""Reads pixels of phantoms and predictions past the bundle's own readers, and scores them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import precision_recall_curve

from tinylesions.datasets import LESION_CODES, LESIONS
from tinylesions.transforms import field_of_view_mask

TEST_PHOTOS = "A. Segmentation/1. Original Images/b. Testing Set"
TEST_MASKS = "A. Segmentation/2. All Segmentation Groundtruths/b. Testing Set"


def read_maps(folder: Path, lesions: Sequence[str] = LESIONS) -> np.ndarray:
    """(lesions, H, W) probabilities of a predicted photo."""
    return np.stack([np.asarray(Image.open(folder / f"{lesion}.png")) for lesion in lesions]) / 65535


def read_truth(photo: Path, lesion: str) -> tuple[np.ndarray, np.ndarray]:
    """(truth, inside of the field of view) of a phantom to test on, (H, W) bool each."""
    inside = field_of_view_mask(np.asarray(Image.open(photo)).transpose(2, 0, 1))
    masks = list((photo.parents[3] / TEST_MASKS).glob(f"*/{photo.stem}_{LESION_CODES[lesion]}.tif"))
    truth = np.asarray(Image.open(masks[0])) > 0 if masks else np.zeros(inside.shape, bool)
    return truth, inside


def pool(photos: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and score of all pixels: a lesion outside of the field of view is missed, the rest there does not count."""
    parts = [(t[inside | t], np.where(inside, p, -1)[inside | t]) for t, p, inside in photos]
    truth, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    return truth, scores


def average_precision_bounds(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The least and the most that the average precision is, when near scores may stand in any order.

    Near is what half a step of the file's 16 bits, and the 12 bits of mantissa that the metric keeps, cannot tell.
    """
    positives, negatives = np.sort(scores[truth]), np.sort(scores[~truth])
    near = 1 / 65535 + np.abs(positives) / 2048

    def above(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
        return len(values) - np.searchsorted(values, limits)

    surely, perhaps = above(positives, positives + near) + 1, above(positives, positives - near)
    least = surely / (surely + above(negatives, positives - near))
    most = perhaps / (perhaps + above(negatives, positives + near))
    return least.mean(), most.mean()


def windows(length: int, shrunk: int) -> list[slice]:
    """The pixels that each pixel of a shrunk side covers, even in part."""
    return [slice(i * length // shrunk, -(-(i + 1) * length // shrunk)) for i in range(shrunk)]


def shrink(image: np.ndarray, size: tuple[int, int], reduce: Callable[[np.ndarray], float]) -> np.ndarray:
    """(H, W) → `size`, one pixel after the other."""
    rows, columns = (windows(*sides) for sides in zip(image.shape, size, strict=True))
    return np.array([[reduce(image[row, column]) for column in columns] for row in rows])


def enlarge(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float → `size`, bilinear, by Pillow."""
    return np.asarray(Image.fromarray(image.astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR))


def break_even(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Precision and recall where they are nearest, of scikit-learn's curve."""
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    points = [(p, r) for p, r, t in zip(precision, recall, thresholds, strict=False) if t >= 0 and r > 0]
    return min(points, key=lambda point: (round(abs(point[0] - point[1]), 12), -sum(point)))
