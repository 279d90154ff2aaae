"""From one mask per lesion to one label map of exclusive classes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from tinylesions.datasets.lesions import CLASSES, LESIONS, OVERLAP_PRIORITY

__all__ = ["LesionMasksToLabelMapd", "lesion_masks_to_label_map"]


def lesion_masks_to_label_map(
    masks: torch.Tensor, field_of_view: torch.Tensor, priority: Sequence[str] = OVERLAP_PRIORITY
) -> torch.Tensor:
    """Merge lesion masks and the field of view into indices of ``CLASSES``.

    Where lesions overlap, the one that stands first in `priority` stays: the rarer one. A lesion outside the field
    of view stays too.

    Args:
        masks: (4, H, W), above 0 is lesion, channels in ``LESIONS`` order.
        field_of_view: (1, H, W), 0 is the black background.
        priority: all lesions, the strongest first.

    Returns:
        (1, H, W) uint8.
    """
    label_map = torch.where(field_of_view > 0, CLASSES.index("other"), CLASSES.index("black_background"))
    label_map = label_map.to(torch.uint8)
    for lesion in reversed(priority):
        label_map[masks[LESIONS.index(lesion)][None] > 0] = CLASSES.index(lesion)
    return label_map


class LesionMasksToLabelMapd(MapTransform):
    """Replace a photo's lesion masks (4, H, W) by the (1, H, W) uint8 label map to train on.

    Metrics are not computed on it: their truth is the masks, which may overlap.

    Args:
        keys: key of the masks.
        mask_key: key of the field of view, (1, H, W).
        priority: see :func:`lesion_masks_to_label_map`.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        mask_key: str = "field_of_view",
        priority: Sequence[str] = OVERLAP_PRIORITY,
    ) -> None:
        super().__init__(keys)
        self.mask_key = mask_key
        self.priority = tuple(priority)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the masks replaced."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[key] = lesion_masks_to_label_map(items[key], items[self.mask_key], self.priority)
        return items
