"""Reads lesion masks, refuses those that would train a network on wrong labels, and writes such as IDRiD has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .atomic import atomic_path
from .decoding import ALPHA_MODES, decode_image
from .errors import InputError
from .lesion_names import lesion_family, name_fault
from .lesions import ALL_LESIONS, LESIONS, OCTA_LESIONS

__all__ = ["check_lesion", "label_masks", "lesions_of", "read_mask", "read_masks", "write_mask"]

MASK_MODES = ("1", "L", "P", "I", "F", "RGB")  # and I;16 in its byte orders


def read_mask(path: Path | str, size: tuple[int, int] | None = None, allow_empty: bool = False) -> np.ndarray:
    """Read the mask of one lesion: every pixel that is not black is lesion, whatever its value.

    Palette files with {0, 1} (IDRiD), grey files with {0, 255} (DDR), 1-bit, 16-bit and RGB files in one colour on
    black are all accepted: no threshold is applied, since one at 127 would empty IDRiD's masks.

    Args:
        path: the mask file.
        size: (height, width) of the photo, which the mask must have.
        allow_empty: accept an all-black mask. DDR ships one for every absent lesion; in IDRiD an absent lesion has
            no file, so that a black one there is a mistake.

    Returns:
        bool array (H, W), True where the lesion is.

    Raises:
        InputError: an unreadable or truncated file, one with an alpha channel (IDRiD_81's hard exudates: alpha 255
            everywhere), of another size, of more than two values, black (see `allow_empty`), or lesion everywhere.
    """
    image = decode_image(path, "mask")
    if image.mode in ALPHA_MODES:
        raise InputError(f"{path}: the mask has an alpha channel (mode {image.mode}); save it as 8-bit grey without it")
    if image.mode not in MASK_MODES and not image.mode.startswith("I;16"):
        raise InputError(f"{path}: a mask cannot be in colour space {image.mode}; save it as 8-bit grey")
    found = (image.height, image.width)
    if size is not None and found != tuple(size):
        raise InputError(
            f"{path}: the mask has {_sides(found)} pixels and its photo {_sides(size)} (width × height);"
            " draw it on the photo's own size"
        )
    values = np.asarray(_by_colour(image))
    mask = np.asarray(values != 0 if values.ndim == 2 else values.any(axis=2))
    lesion = values[mask]
    if not len(lesion) and not allow_empty:
        raise InputError(
            f"{path}: the mask is all black; delete the file if the lesion is absent, else put the right one there"
        )
    if len(lesion) and (lesion != lesion[0]).any():
        raise InputError(
            f"{path}: the mask has several values besides black where one is allowed;"
            " save it with two values, in a lossless format (no JPG, no smoothing)"
        )
    if mask.all():
        raise InputError(f"{path}: the mask marks every pixel as lesion; draw the lesion on black")
    return mask


def read_masks(
    paths: Mapping[str, Path | str],
    size: tuple[int, int],
    allow_empty: bool = False,
    lesions: Sequence[str] = LESIONS,
) -> np.ndarray:
    """Read the masks of one photo, one channel for each lesion.

    Args:
        paths: lesion name -> mask file, for the lesions that have a file (the `label` of a datalist item).
        size: (height, width) of the photo.
        allow_empty: as in `read_mask`.
        lesions: those to read, some of `LESIONS` or of `OCTA_LESIONS`, and names of one's own; files of other known
            lesions of the family stay closed.

    Returns:
        uint8 array (K, H, W) of 0 and 1 in the order of `lesions`; zeros for a lesion that has no file.

    Raises:
        InputError: a mask that `read_mask` refuses, a name that is neither of the same family nor one of `lesions`, or
            labels of nuclei.
        ValueError: `lesions` holds a name that no lesion can have, or names of both families.
    """
    family = lesion_family(lesions)
    for lesion, path in label_masks(paths).items():
        check_lesion(lesion, path, family)
    masks = np.zeros((len(lesions), *size), np.uint8)
    for channel, lesion in enumerate(lesions):
        if lesion in paths:
            masks[channel] = read_mask(paths[lesion], size, allow_empty)
    return masks


def label_masks(label: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return the `label` of an item of a datalist: lesion name -> mask file.

    Raises:
        InputError: it is the one file that an item of a data set of nuclei has.
    """
    if isinstance(label, str):
        raise InputError(
            f"{label}: this file marks nuclei, no lesions; choose a layout of lesions or a bundle of nuclei"
        )
    return dict(label)


def lesions_of(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lesions that a datalist's labels name: known ones in the order of `ALL_LESIONS`, others by alphabet.

    Raises:
        InputError: no photo has a mask, known lesions are of both families, a name that no lesion can have, or labels
            of nuclei.

    Example:
        >>> lesions_of([{"label": {"drusen": "a.png"}}, {"label": {"atrophy": "b.png", "haemorrhage": "c.png"}}])
        ['haemorrhage', 'atrophy', 'drusen']
    """
    paths = {lesion: path for item in items for lesion, path in label_masks(item.get("label", {})).items()}
    if not paths:
        raise InputError("no photo of the data set has a mask of a lesion; add masks, or choose another data set")
    for lesion, path in paths.items():
        if fault := name_fault(lesion):
            raise InputError(f"{path}: {lesion!r} {fault}")
    known = [lesion for lesion in ALL_LESIONS if lesion in paths]
    for lesion in known:
        check_lesion(lesion, paths[lesion], LESIONS if known[0] in LESIONS else OCTA_LESIONS)
    return [*known, *sorted(set(paths) - set(known))]


def check_lesion(lesion: str, path: Path | str, family: Sequence[str]) -> None:
    """Refuse a mask whose lesion is not one of a family: `LESIONS` or `OCTA_LESIONS`, and names of one's own.

    Raises:
        InputError: the name is unknown, or of the other family: its mask would count as absent lesions.
    """
    if lesion in family:
        return
    if lesion in ALL_LESIONS:
        raise InputError(
            f"{path}: {lesion} is none of {', '.join(family)};"
            " use a data set and a bundle for one kind of image, fundus photos or OCTA"
        )
    raise InputError(f"{path}: {lesion!r} is no lesion; name it one of {', '.join(family)}")


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask (H, W) in IDRiD's form: palette TIFF of {0, 1}, red on black; the file is there whole or not."""
    image = Image.frombytes("P", mask.shape[::-1], mask.astype(np.uint8).tobytes())
    image.putpalette([0, 0, 0, 255, 0, 0])
    with atomic_path(path) as unfinished:
        image.save(unfinished, format="TIFF", compression="tiff_adobe_deflate")


def _by_colour(image: Image.Image) -> Image.Image:
    """Return a palette image as RGB where its index 0 is not black: some programs number colours as they please."""
    palette = image.getpalette()
    return image.convert("RGB") if palette and any(palette[:3]) else image


def _sides(size: tuple[int, int]) -> str:
    return f"{size[1]} × {size[0]}"
