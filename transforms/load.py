"""Load photos and lesion masks, rows first, with errors a user can act on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from PIL import Image

from tinylesions.datasets.lesions import LESIONS
from tinylesions.datasets.masks import read_masks
from tinylesions.datasets.photos import read_photo
from tinylesions.transforms.names import checked_lesions

__all__ = ["LoadLesionMasksd", "LoadPhotod", "meta_tensor"]


def meta_tensor(array: np.ndarray, name: str) -> MetaTensor:
    """A ``MetaTensor`` of an image (C, H, W) with the metadata that MONAI's transforms and inverses want."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    spatial_shape = np.asarray(array.shape[1:])
    return MetaTensor(tensor, affine=torch.eye(3), meta={"filename_or_obj": name, "spatial_shape": spatial_shape})


class LoadPhotod(MapTransform):
    """Load photos as (3, H, W) or, in grey, (1, H, W) uint8 ``MetaTensor``.

    ``LoadImaged`` is not used: its readers ignore the EXIF orientation and give columns first, it makes float32
    (146 MB for a photo of 4288×2848 instead of 37 MB), and its error on a broken photo speaks of missing readers.

    Args:
        keys: keys of the photos' paths; JPEG, PNG, TIFF or BMP of any colour mode and 8 or 16 bits.
        channels: 3 for red, green and blue, or 1 for grey: the values of a grey file, the luminance of a coloured one
            (0.299 R + 0.587 G + 0.114 B).
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        InputError: the file is missing, no photo or truncated.
        ValueError: `channels` is another number.
    """

    def __init__(self, keys: KeysCollection, channels: int = 3, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        if channels not in (1, 3):
            raise ValueError(f"channels is 1 or 3, got {channels!r}")
        self.channels = channels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with each path replaced by its photo."""
        items = dict(data)
        for key in self.key_iterator(items):
            photo = read_photo(items[key])
            if self.channels == 1:
                photo = np.array(Image.fromarray(photo).convert("L"))[..., None]
            items[key] = meta_tensor(photo.transpose(2, 0, 1), str(items[key]))
        return items


class LoadLesionMasksd(MapTransform):
    """Load the masks of a photo's lesions as one (K, H, W) uint8 ``MetaTensor`` of 0 and 1.

    Args:
        keys: key of a mapping from a lesion's name to its file; a lesion without a file is absent.
        photo_key: key of the loaded photo, whose height and width the masks must have.
        allow_empty: accept files without a lesion pixel. IDRiD has no file for an absent lesion, so that a black
            one is a mistake; DDR writes black files.
        lesions: the K lesions to load, in this order, a fundus photo's four by default; names of one's own may be
            among them. Files of others are not read.

    Raises:
        InputError: a mask is missing, unreadable, of another size, RGBA, grey-scale or wrongly black.
        ValueError: `lesions` holds a name that no lesion can have, one twice, or names of both families.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        photo_key: str = "image",
        allow_empty: bool = False,
        lesions: Sequence[str] = LESIONS,
    ) -> None:
        super().__init__(keys)
        self.photo_key = photo_key
        self.allow_empty = allow_empty
        self.lesions = checked_lesions(lesions)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the mapping replaced by the masks."""
        items = dict(data)
        photo = items[self.photo_key]
        for key in self.key_iterator(items):
            masks = read_masks(items[key], tuple(photo.shape[1:]), self.allow_empty, self.lesions)
            items[key] = meta_tensor(masks, photo.meta["filename_or_obj"])
        return items
