"""Looks up the folders and files of an official data set layout, and says what is missing in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import InputError
from .photos import PHOTO_SUFFIXES, natural_key

__all__ = ["find_folder", "match_masks", "photos_by_id", "require_folder"]


def find_folder(parent: Path, name: str) -> Path | None:
    """Return the subfolder of that name, whatever its case, or None."""
    if not parent.is_dir():
        return None
    wanted = name.casefold()
    folders = (child for child in sorted(parent.iterdir()) if child.name.casefold() == wanted and child.is_dir())
    return next(folders, None)


def require_folder(parent: Path, names: Iterable[str], layout: str) -> Path:
    """Return the subfolder at `names`, one below the other, whatever their case.

    Raises:
        InputError: one of them is missing; the sentence shows the `layout` that is expected.
    """
    folder = parent
    for name in names:
        child = find_folder(folder, name)
        if child is None:
            raise InputError(f'{folder / name}: this folder is missing; the official layout is "{layout}"')
        folder = child
    return folder


def photos_by_id(folder: Path) -> dict[str, Path]:
    """Return the photos that lie directly in a folder by their stems, in natural order.

    Raises:
        InputError: the folder holds no photo, or two of one stem.
    """
    photos: dict[str, Path] = {}
    seen: dict[str, Path] = {}
    for path in _images(folder):
        double = seen.setdefault(path.stem.casefold(), path)
        if double is not path:
            raise InputError(f"{path}: {double.name} has the same name; keep one of the two")
        photos[path.stem] = path
    if not photos:
        raise InputError(f"{folder}: no photo ({', '.join(PHOTO_SUFFIXES)}) in this folder; copy the photos there")
    return photos


def match_masks(folder: Path, photos: Mapping[str, Path], code: str = "") -> dict[str, Path]:
    """Return the masks in a folder by the ids of their photos.

    Args:
        folder: the folder of one lesion.
        photos: id -> photo.
        code: what follows the id in the mask's stem ("_MA" in IDRiD, nothing in DDR), whatever its case.

    Raises:
        InputError: a mask without a photo, or two of one photo.
    """
    ids = {f"{name}{code}".casefold(): name for name in photos}
    masks: dict[str, Path] = {}
    for path in _images(folder):
        name = ids.get(path.stem.casefold())
        if name is None:
            raise InputError(
                f"{path}: this mask belongs to no photo; copy the photo, too, or name it <photo>{code}{path.suffix}"
            )
        if name in masks:
            raise InputError(f"{path}: {masks[name].name} is a mask of the same lesion; keep one of the two")
        masks[name] = path
    return masks


def _images(folder: Path) -> list[Path]:
    images = (path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES and path.name[0] != ".")
    return sorted(images, key=lambda path: natural_key(path.name))
