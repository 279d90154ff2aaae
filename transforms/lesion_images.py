"""The image files of a prediction: probabilities, masks, label map and pictures to look at."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tinylesions.datasets.lesions import CLASSES
from tinylesions.transforms.lesion_colours import PALETTE

__all__ = ["write_jpeg", "write_label_map", "write_mask", "write_probability"]

_LABEL_COLOURS = {**PALETTE, "other": (64, 64, 64), "black_background": (0, 0, 0)}
_PNG_LEVEL = 1  # five times faster than Pillow's default 6, the files are a tenth larger
_JPEG_QUALITY = 92  # a photo is a JPEG already; a PNG of the overlay is four times as large


def write_probability(probability: np.ndarray, path: Path) -> None:
    """Write probabilities (H, W) float as a PNG of 16 bits, ``round(65535 * p)``."""
    sixteen_bits = np.rint(np.clip(probability, 0, 1) * np.float32(65535)).astype(np.uint16)
    Image.fromarray(sixteen_bits).save(path, compress_level=_PNG_LEVEL)


def write_mask(mask: np.ndarray, path: Path) -> None:
    """Write a mask (H, W) bool as a PNG of 8 bits, 0 and 255."""
    Image.fromarray(mask * np.uint8(255)).save(path, compress_level=_PNG_LEVEL)


def write_label_map(label_map: np.ndarray, path: Path) -> None:
    """Write indices (H, W) uint8 into ``CLASSES`` as a PNG of 8 bits with a palette."""
    image = Image.fromarray(label_map)
    colours = bytes(value for name in CLASSES for value in _LABEL_COLOURS[name])
    image.putpalette(colours.ljust(3 * 256, b"\0"))  # with a short palette Pillow packs two pixels into a byte
    image.save(path, compress_level=_PNG_LEVEL)


def write_jpeg(picture: np.ndarray, path: Path) -> None:
    """Write a picture (H, W, 3) uint8 RGB as a JPEG."""
    # by way of memory: Pillow's JPEG encoder does not tell why a file could not be written
    encoded = BytesIO()
    Image.fromarray(picture).save(encoded, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    path.write_bytes(encoded.getvalue())
