"""From logits to probabilities, for one head or several."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["SoftmaxHeadsd"]


class SoftmaxHeadsd(MapTransform):
    """Softmax over the classes of each head, then a choice of classes.

    Args:
        keys: keys of logits (heads · `classes`, H, W), the heads one after another as ``head="all"`` gives them.
        classes: number of classes of a head.
        channels: classes to keep of each head, in this order; all by default.

    Raises:
        ValueError: the channels are no multiple of `classes`.
    """

    def __init__(self, keys: KeysCollection, classes: int, channels: Sequence[int] | None = None) -> None:
        super().__init__(keys)
        self.classes = classes
        self.channels = list(range(classes) if channels is None else channels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with logits replaced by probabilities (heads · channels, H, W) float32."""
        items = dict(data)
        for key in self.key_iterator(items):
            logits = items[key]
            if logits.shape[0] % self.classes:
                raise ValueError(f"{logits.shape[0]} channels of {key} are no multiple of {self.classes} classes")
            heads = [torch.softmax(head.float(), dim=0)[self.channels] for head in logits.split(self.classes)]
            items[key] = torch.cat(heads) if len(heads) > 1 else heads[0]
        return items
