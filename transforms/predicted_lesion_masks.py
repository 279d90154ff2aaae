"""From a softmax over classes to the lesions alone: their probabilities and their masks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy, convert_to_tensor, ensure_tuple_rep

from tinylesions.datasets import photo_size, write_pseudo_masks
from tinylesions.datasets.lesions import CLASSES, LESIONS
from tinylesions.transforms.names import output_name
from tinylesions.transforms.predicted_lesions import label_map_of_softmax
from tinylesions.transforms.resize_modes import enlarge_mask

__all__ = ["PredictedLesionsd", "SavePseudoMasksd"]


class PredictedLesionsd(MapTransform):
    """Keep the lesions' probabilities of a softmax, and add the masks of where each is the most probable class.

    Args:
        keys: keys of probabilities (K, H, W) over `classes`, replaced by (4, H, W), channels in ``LESIONS`` order.
        mask_keys: key of the masks (4, H, W) uint8 of each.
        classes: names of the K classes.
        allow_missing_keys: do not raise where a key is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mask_keys: KeysCollection,
        classes: Sequence[str] = CLASSES[:5],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_keys = ensure_tuple_rep(mask_keys, len(self.keys))
        self.classes = tuple(classes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with lesions and masks."""
        items = dict(data)
        for key, mask_key in self.key_iterator(items, self.mask_keys):
            probabilities = convert_to_tensor(items[key], track_meta=False)
            label_map, items[key] = label_map_of_softmax(probabilities, self.classes)
            items[mask_key] = torch.stack([label_map == CLASSES.index(lesion) for lesion in LESIONS]).to(torch.uint8)
        return items


class SavePseudoMasksd(MapTransform):
    """Write masks that a network drew in IDRiD's official folders at the photo's own size, a photo at a time.

    They are enlarged by :func:`~tinylesions.transforms.resize_modes.enlarge_mask`, so that a training gets what the
    network drew, and not what grows by being shrunk again.

    Args:
        keys: key of masks (4, h, w) of 0 and 1 at the network's size, channels in ``LESIONS`` order.
        root: folder that gets ``A. Segmentation``.
        id_key: key of the photo's name.
        photo_key: key of the photo's file name.

    Raises:
        InputError: the id cannot name a file.
    """

    def __init__(self, keys: KeysCollection, root: str | Path, id_key: str = "id", photo_key: str = "image") -> None:
        super().__init__(keys)
        self.root = Path(root)
        self.id_key = id_key
        self.photo_key = photo_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write, and return the data as it is."""
        items = dict(data)
        for key in self.key_iterator(items):
            masks = convert_to_tensor(items[key], track_meta=False)
            size = photo_size(items[self.photo_key].meta["filename_or_obj"])
            enlarged = convert_to_numpy(enlarge_mask(masks, size)) > 0
            write_pseudo_masks(self.root, output_name(items[self.id_key]), enlarged)
        return items
