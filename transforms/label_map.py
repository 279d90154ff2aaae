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
    masks: torch.Tensor, field_of_view: torch.Tensor | None, priority: Sequence[str] = OVERLAP_PRIORITY
) -> torch.Tensor:
    """Merge lesion masks and the field of view into indices of ``CLASSES``.

    Where lesions overlap, the one that stands first in `priority` stays: the rarer one. A lesion outside the field
    of view stays too.

    Args:
        masks: (4, H, W), above 0 is lesion, channels in ``LESIONS`` order.
        field_of_view: (1, H, W), 0 is the black background; None where that is no class of its own but ``other``, so
            that the map has indices of ``CLASSES[:5]``.
        priority: all lesions, the strongest first.

    Returns:
        (1, H, W) uint8.
    """
    if field_of_view is None:
        label_map = torch.full_like(masks[:1], CLASSES.index("other"), dtype=torch.uint8)
    else:
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
        mask_key: key of the field of view, (1, H, W); None where the black background is no class.
        priority: see :func:`lesion_masks_to_label_map`.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        mask_key: str | None = "field_of_view",
        priority: Sequence[str] = OVERLAP_PRIORITY,
    ) -> None:
        super().__init__(keys)
        self.mask_key = mask_key
        self.priority = tuple(priority)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the masks replaced."""
        items = dict(data)
        for key in self.key_iterator(items):
            field_of_view = None if self.mask_key is None else items[self.mask_key]
            items[key] = lesion_masks_to_label_map(items[key], field_of_view, self.priority)
        return items
