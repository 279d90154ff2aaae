"""From a network's probabilities to one class for each pixel, or to a mask for each lesion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from tinylesions.datasets.lesions import CLASSES, LESIONS

__all__ = ["label_map_of_sigmoid", "label_map_of_softmax", "masks_of_label_map", "masks_of_sigmoid"]


def label_map_of_softmax(
    probabilities: torch.Tensor, classes: Sequence[str] = CLASSES
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the most probable class.

    Args:
        probabilities: (K, H, W) float of K exclusive classes.
        classes: their names, ``CLASSES`` or ``CLASSES[:5]``.

    Returns:
        The label map (H, W) uint8, indices into ``CLASSES``, and the lesions' probabilities (4, H, W).
    """
    label_map, _ = _largest(probabilities, [CLASSES.index(name) for name in classes])
    return label_map, probabilities[classes.index(LESIONS[0]) : classes.index(LESIONS[-1]) + 1]


def label_map_of_sigmoid(
    probabilities: torch.Tensor, lesions: Sequence[str], thresholds: Sequence[float] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the most probable lesion where one has a probability of 0.5 or more, else ``other``.

    With thresholds it is the lesion furthest above its own, by the difference of the log-odds, among those that reach
    theirs: 0.3 of a lesion with the threshold 0.1 counts for more than 0.6 of one with the threshold 0.5.

    Args:
        probabilities: (K, H, W) float of K lesions, each for itself.
        lesions: their names, of ``LESIONS``.
        thresholds: of each, above 0 and below 1; 0.5 by default.

    Returns:
        The label map (H, W) uint8, indices into ``CLASSES``, and the lesions' probabilities (K, H, W).
    """
    indices = [CLASSES.index(lesion) for lesion in lesions]
    if thresholds is None:
        label_map, largest = _largest(probabilities, indices)
        return label_map.masked_fill_(~(largest >= 0.5), CLASSES.index("other")), probabilities
    scores = (_above(channel, threshold) for channel, threshold in zip(probabilities, thresholds, strict=True))
    label_map, largest = _largest(scores, indices)
    return label_map.masked_fill_(~(largest > 0), CLASSES.index("other")), probabilities


def masks_of_sigmoid(probabilities: torch.Tensor, thresholds: Sequence[float] | None = None) -> torch.Tensor:
    """Choose every lesion that has a probability of 0.5, or of its own threshold, or more.

    Args:
        probabilities: (K, H, W) float of K lesions.
        thresholds: of each, above 0 and below 1; 0.5 by default.

    Returns:
        (K, H, W) bool, which may overlap.
    """
    if thresholds is None:
        return probabilities >= 0.5
    return torch.stack([channel >= threshold for channel, threshold in zip(probabilities, thresholds, strict=True)])


def masks_of_label_map(label_map: np.ndarray, lesions: Sequence[str]) -> np.ndarray:
    """Give each lesion of a label map (H, W) uint8 its mask: (K, H, W) bool, of which no two overlap."""
    indices = np.array([CLASSES.index(lesion) for lesion in lesions], dtype=np.uint8)
    return label_map == indices[:, None, None]


def _above(probability: torch.Tensor, threshold: float) -> torch.Tensor:
    """The odds as a multiple of the threshold's, which order as the difference of log-odds; 0 below the threshold."""
    rest = 1 - probability.float()
    odds = torch.div(probability, rest, out=rest).mul_((1 - threshold) / threshold)
    return odds.masked_fill_(~(probability >= threshold), 0)


def _largest(channels: Iterable[torch.Tensor], indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Index and value of the largest channel (H, W), the first of equal ones.

    A running maximum, which is four times faster along the first axis than argmax, and holds one channel at a time.
    """
    (first, *rest), channels = indices, iter(channels)
    largest = next(channels).clone()
    label_map = torch.full(largest.shape, first, dtype=torch.uint8, device=largest.device)
    for index, channel in zip(rest, channels, strict=True):
        label_map.masked_fill_(channel > largest, index)
        torch.maximum(largest, channel, out=largest)
    return label_map, largest
