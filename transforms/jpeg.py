"""The marks that a camera's JPEG compression leaves, for training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type, convert_to_numpy
from PIL import Image

__all__ = ["RandJPEGd", "jpeg_compressed"]


def jpeg_compressed(image: torch.Tensor, quality: int) -> torch.Tensor:
    """Compress an image as JPEG and decode it again, in memory.

    Args:
        image: (3, H, W) RGB, uint8, or float from 0 to 1; what lies a little outside, as noise does, is cut off.
        quality: of Pillow's encoder, 1 to 95.

    Returns:
        (3, H, W) of the same data type, range, device and metadata.

    Raises:
        ValueError: the image is not (3, H, W), of another integer type, or its float values are not those of 0 to 1.
    """
    if image.ndim != 3 or len(image) != 3:
        raise ValueError(f"a JPEG is of an image (3, H, W), got {tuple(image.shape)}")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ValueError(f"a JPEG is of 8 bits or of float values from 0 to 1, got {image.dtype}")
    pixels = convert_to_numpy(image).transpose(1, 2, 0)
    if image.is_floating_point():
        if not pixels.max(initial=0) < 2:  # forgives noise, and notices values up to 255 and what is no number
            raise ValueError(f"a JPEG is of float values from 0 to 1, got up to {pixels.max():g}")
        pixels = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    encoded = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(encoded, "JPEG", quality=quality)
    with Image.open(encoded) as decoded:
        found = np.array(decoded).transpose(2, 0, 1)
    values = found if image.dtype == torch.uint8 else found / np.float32(255)
    result: torch.Tensor = convert_to_dst_type(np.ascontiguousarray(values), image)[0]
    return result


class RandJPEGd(RandomizableTransform, MapTransform):
    """Compress images as JPEG with a quality that is drawn anew for every item.

    Photos of many cameras are JPEGs of a low quality, and its blocks of 8×8 pixels are as large as a microaneurysm.

    Args:
        keys: keys of images (3, H, W), see :func:`jpeg_compressed`; those of one item get one quality.
        prob: how often, 0 to 1.
        quality: lowest and highest quality of Pillow's encoder, both included, within 1 to 95.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        ValueError: a quality is out of range.

    Example:
        >>> compress = RandJPEGd("image", prob=1.0, quality=(40, 90)).set_random_state(0)
        >>> compress({"image": torch.full((3, 16, 24), 0.5)})["image"].unique().tolist()
        [0.501960813999176]
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        quality: Sequence[int] = (40, 90),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        low, high = quality
        if not 1 <= low <= high <= 95:
            raise ValueError(f"quality is two numbers from 1 to 95, the lower one first, got {list(quality)}")
        self.quality = (int(low), int(high))

    def randomize(self, data: Any = None) -> None:
        """Draw whether, and with which quality."""
        super().randomize(None)
        self._drawn = int(self.R.randint(self.quality[0], self.quality[1] + 1))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the images compressed, or as they are."""
        items = dict(data)
        self.randomize()
        if self._do_transform:
            for key in self.key_iterator(items):
                items[key] = jpeg_compressed(items[key], self._drawn)
        return items
