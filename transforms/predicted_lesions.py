"""From a network's probabilities to one class for each pixel, or to a mask for each lesion."""

from __future__ import annotations

from collections.abc import Sequence

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


def label_map_of_sigmoid(probabilities: torch.Tensor, lesions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the most probable lesion where one has a probability of 0.5 or more, else ``other``.

    Args:
        probabilities: (K, H, W) float of K lesions, each for itself.
        lesions: their names.

    Returns:
        The label map (H, W) uint8, indices into ``CLASSES``, and the lesions' probabilities (K, H, W).
    """
    label_map, largest = _largest(probabilities, [CLASSES.index(lesion) for lesion in lesions])
    return label_map.masked_fill_(~(largest >= 0.5), CLASSES.index("other")), probabilities


def masks_of_sigmoid(probabilities: torch.Tensor) -> torch.Tensor:
    """Choose every lesion that has a probability of 0.5 or more: (K, H, W) bool, which may overlap."""
    return probabilities >= 0.5


def masks_of_label_map(label_map: np.ndarray, lesions: Sequence[str]) -> np.ndarray:
    """Give each lesion of a label map (H, W) uint8 its mask: (K, H, W) bool, of which no two overlap."""
    indices = np.array([CLASSES.index(lesion) for lesion in lesions], dtype=np.uint8)
    return label_map == indices[:, None, None]


def _largest(probabilities: torch.Tensor, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Index and value of the largest channel, the first of equal ones.

    A running maximum, which is four times faster along the first axis than argmax.
    """
    largest = probabilities[0].clone()
    label_map = torch.full(largest.shape, indices[0], dtype=torch.uint8, device=largest.device)
    for index, probability in zip(indices[1:], probabilities[1:], strict=True):
        label_map.masked_fill_(probability > largest, index)
        torch.maximum(largest, probability, out=largest)
    return label_map, largest
