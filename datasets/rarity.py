"""How rare each lesion is among photos, so that a training can show rare ones more often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .masks import label_masks

__all__ = ["lesion_rarity", "rarity_weights"]


def lesion_rarity(items: Iterable[Mapping[str, Any]], lesions: Sequence[str]) -> list[float]:
    """Return for each lesion one divided by the number of photos that have a mask of it; 1 where there is none.

    Example:
        >>> masks = [{"haemorrhage": "1.png"}, {"haemorrhage": "2.png", "soft_exudate": "2.png"}]
        >>> lesion_rarity([{"label": label} for label in masks], ["haemorrhage", "soft_exudate"])
        [0.5, 1.0]
    """
    counts = Counter(lesion for item in items for lesion in label_masks(item.get("label", {})))
    return [1 / max(counts[lesion], 1) for lesion in lesions]


def rarity_weights(items: Sequence[Mapping[str, Any]], lesions: Sequence[str]) -> list[float]:
    """Return how often each photo is drawn for training, relative to others: photos with rare lesions more often.

    Half of the draws are the same for all photos; the other half is divided evenly among the lesions, and each lesion's
    part among the photos that have a mask of it.

    Args:
        items: the photos for training.
        lesions: those that count.

    Returns:
        One weight a photo; they add up to 1 where every lesion has a mask.

    Example:
        >>> masks = [{"haemorrhage": "1.png"}, {"haemorrhage": "2.png", "soft_exudate": "2.png"}]
        >>> rarity_weights([{"label": label} for label in masks], ["haemorrhage", "soft_exudate"])
        [0.375, 0.625]
    """
    labels = [label_masks(item.get("label", {})) for item in items]
    rarity = dict(zip(lesions, lesion_rarity(items, lesions), strict=True))
    return [
        0.5 / len(labels) + sum(0.5 / len(lesions) * rarity[lesion] for lesion in lesions if lesion in label)
        for label in labels
    ]
