"""Reads photos as 8-bit RGB, whatever camera or program wrote them, and finds them in folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .decoding import ALPHA_MODES, decode_image, image_size
from .errors import InputError
from .photo_names import photo_ids

__all__ = ["PHOTO_SUFFIXES", "find_photos", "natural_key", "photo_ids", "photo_size", "read_photo"]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
"""The suffixes, in lower case, by which photos are found in a folder."""


def read_photo(path: Path | str, at_least: int | None = None) -> np.ndarray:
    """Read a photo as 8-bit RGB, upright.

    Grey, palette, CMYK and 16-bit files are converted (16 bits keep their upper 8), transparency is laid over black
    and the EXIF orientation is applied.

    Args:
        path: a JPG, PNG, TIFF or BMP file.
        at_least: a reduced size is enough, as in `decode_image`.

    Returns:
        uint8 array (H, W, 3), values 0 to 255.

    Raises:
        InputError: the file is missing, a folder, no image, truncated, damaged, unreasonably large, or of a pixel
            type that has no known range (32-bit or floating point).
    """
    image = decode_image(path, at_least=at_least)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        bits = image.info.get("bits", 16)  # Pillow hands 12-bit TIFF over unscaled
        grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise InputError(
            f"{path}: the photo has 32-bit pixels whose range is unknown; save it with 8 or 16 bits a channel"
        )
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    try:
        return np.array(image.convert("RGB"))
    except ValueError as error:
        raise InputError(
            f"{path}: the photo's colour space {image.mode} cannot be converted; save it as RGB"
        ) from error


def photo_size(path: Path | str) -> tuple[int, int]:
    """Read (height, width) of a photo, after its EXIF orientation, without decoding pixels.

    Raises:
        InputError: the file is missing, a folder, no image or unreasonably large.
    """
    return image_size(path)


def find_photos(inputs: Sequence[Path | str], exclude: Path | str | None = None) -> list[Path]:
    """List the photos that files and folders name.

    A file is taken whatever its suffix. A folder is searched with its subfolders, linked ones too, for
    `PHOTO_SUFFIXES`, in natural order (`IDRiD_2` before `IDRiD_10`); names that start with a dot are skipped.

    Args:
        inputs: files and folders.
        exclude: a folder whose files are not photos even where a folder of `inputs` holds it: that of the results.

    Returns:
        the paths, each once, in the order of `inputs`.

    Raises:
        InputError: a path that does not exist, or a folder without a photo.
    """
    photos: dict[str, Path] = {}
    results = None if exclude is None else Path(exclude).resolve()
    for path in map(Path, inputs):
        if path.is_dir():
            inside = results is not None and path.resolve() in results.parents
            below = (p for p in _photos_below(path) if not inside or results not in p.resolve().parents)
            found = sorted(below, key=lambda photo: natural_key(photo.relative_to(path).as_posix()))
            if not found:
                suffixes = ", ".join(PHOTO_SUFFIXES)
                raise InputError(f"{path}: no photo ({suffixes}) in this folder; name the folder that holds them")
        elif path.exists():
            found = [path]
        else:
            raise InputError(f"{path}: there is no such photo or folder; check the path")
        for photo in found:
            photos.setdefault(os.path.normcase(photo.absolute()), photo)
    return list(photos.values())


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key that compares runs of digits as numbers and letters without their case."""
    # split with a group alternates text and digits, so that like always meets like
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def _photos_below(folder: Path) -> Iterator[Path]:
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(parent))
        # a link that leads to a folder already seen would be walked again, without end where it leads upward
        folders[:] = [
            name
            for name in sorted(folders)
            if not name.startswith(".") and os.path.realpath(Path(parent, name)) not in visited
        ]
        for name in files:
            if not name.startswith(".") and name.lower().endswith(PHOTO_SUFFIXES):
                yield Path(parent, name)
