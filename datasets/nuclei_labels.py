"""Reads tiles of tissue and the nuclei marked in them, from files of one tile (MoNuSAC) or of many (CoNIC)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .errors import InputError
from .nuclei import checked_class_names
from .nuclei_outlines import draw_nuclei
from .photos import photo_size, read_photo
from .tile_arrays import open_labels, open_tiles, pick

__all__ = ["read_nuclei", "read_tile", "tile_size"]


def read_tile(image: Path | str, index: int | None = None) -> np.ndarray:
    """Read a tile as 8-bit RGB.

    Args:
        image: CoNIC's `images.npy`, or the file of one tile, as `read_photo` takes it; a `.svs` is a TIFF.
        index: of the tile in a `.npy` file; unused for other files.

    Returns:
        uint8 array (H, W, 3).

    Raises:
        InputError: the file is missing, unreadable, or has no tile of that index.
    """
    if not _holds_many(image):
        return read_photo(image)
    return pick(open_tiles(image), image, index)


def tile_size(image: Path | str) -> tuple[int, int]:
    """Read (height, width) of a tile, or of all tiles of a `.npy` file, without reading pixels.

    Raises:
        InputError: the file is missing or unreadable.
    """
    if not _holds_many(image):
        return photo_size(image)
    height, width = open_tiles(image).shape[1:3]
    return int(height), int(width)


def read_nuclei(
    label: Path | str, class_names: Sequence[str], size: tuple[int, int], index: int | None = None
) -> np.ndarray:
    """Read which nucleus, and of which class, each pixel of a tile is part of.

    Args:
        label: CoNIC's `labels.npy`, or MoNuSAC's XML of outlines (`draw_nuclei`).
        class_names: the K classes, the background first. In a `.npy` file classes are numbered in this order.
        size: (height, width) of the tile.
        index: of the tile in a `.npy` file; unused for XML.

    Returns:
        int32 array (H, W, 2): the nucleus, a number above 0 that means nothing beyond the tile, and its class, 1 to
        K - 1; both 0 in the background.

    Raises:
        InputError: the file is missing or unreadable, of another size, has a class beyond `class_names`, or a pixel
            that has only one of nucleus and class; or names that `checked_class_names` refuses.

    Example:
        >>> import tempfile
        >>> labels = np.zeros((3, 8, 8, 2), np.int16)
        >>> labels[2, 1:4, 1:4] = 7, 1
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "labels.npy"
        ...     np.save(path, labels)
        ...     nuclei = read_nuclei(path, ("background", "epithelial"), (8, 8), index=2)
        >>> nuclei.shape, nuclei[2, 2].tolist(), int(nuclei[..., 1].sum())
        ((8, 8, 2), [7, 1], 9)
    """
    class_names = checked_class_names(class_names)
    if not _holds_many(label):
        return draw_nuclei(label, class_names, (int(size[0]), int(size[1])))
    labels = open_labels(label)
    if labels.shape[1:3] != tuple(size):
        found, due = (f"{width} × {height}" for height, width in (labels.shape[1:3], size))
        raise InputError(f"{label}: labels have {found} pixels and tiles {due} (width × height); save both in one size")
    nuclei = pick(labels, label, index)
    lowest, highest = int(nuclei.min()), int(nuclei[..., 1].max())
    if highest >= len(class_names):
        raise InputError(
            f"{label}: patch {index} has class {highest}, but there are {len(class_names)} class names, numbered from 0"
            f" ({', '.join(class_names)}): give the class_names of this data set"
        )
    if lowest < 0 or int(nuclei[..., 0].max()) > np.iinfo(np.int32).max:
        raise InputError(f"{label}: patch {index} has numbers below 0 or above 2^31 - 1; save it with small numbers")
    halves = int(((nuclei[..., 0] > 0) != (nuclei[..., 1] > 0)).sum())
    if halves:
        raise InputError(
            f"{label}: patch {index} has {halves} pixels with a nucleus but no class, or the reverse;"
            " set both numbers of a pixel to 0, or neither"
        )
    return nuclei.astype(np.int32)


def _holds_many(path: Path | str) -> bool:
    return Path(path).suffix.lower() == ".npy"
