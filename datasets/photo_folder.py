"""Reads a folder of one's own photos, with masks of any lesions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .cross_validation import deal_folds, hold_out_fold
from .datalists import SPLITS
from .errors import InputError
from .grade_tables import find_file
from .layouts import find_folder, match_masks, photos_by_id
from .lesion_names import lesion_of_name, name_fault
from .masks import lesions_of
from .photo_table import read_photo_table
from .photos import PHOTO_SUFFIXES

__all__ = ["photo_folder"]

PHOTOS, MASKS, TABLE = "images", "masks", "photos.csv"
FOLDS = 5
SYSTEM_FILES = ("thumbs.db", "desktop.ini")


def photo_folder(root: Path | str) -> list[dict[str, Any]]:
    """List the photos of a folder with their masks, splits and grades.

    ============================  =====================================================================================
    ``images/<photo>.*``          the photos: JPG, PNG, TIFF or BMP
    ``masks/<lesion>/<photo>.*``  the masks; a photo without the lesion has a black one or none
    ``photos.csv``                may be absent; splits and grades, as `read_photo_table` reads them
    ============================  =====================================================================================

    Lesions may have any names that can name files (`name_fault`); the codes, plurals and American spellings of
    `LESIONS` are understood. Without splits, the photos of one of five folds of `deal_folds` validate: the first fold
    that leaves a mask of every lesion for training, else the first. Fewer photos make as many folds.

    Args:
        root: the folder that holds ``images`` and ``masks``; folder names in any case.

    Returns:
        items as `idrid_segmentation` gives them, without optic disc, with ``"grade": int`` where it is known.

    Raises:
        InputError: photos or masks are missing, a mask has no photo, a name that no lesion can have, lesions of both
            fundus photos and OCTA images, a table that `read_photo_table` refuses, or one photo and no splits.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one that holds {PHOTOS} and {MASKS}")
    folder = find_folder(root, PHOTOS)
    if folder is None:
        raise InputError(f"{root / PHOTOS}: this folder is missing; put the photos there")
    photos = photos_by_id(folder)
    by_lesion = _masks(root, photos)
    table = find_file(root, [TABLE])
    facts = read_photo_table(table, photos) if table else {}
    items: list[dict[str, Any]] = [
        {
            "id": name,
            "image": str(photo),
            "label": {lesion: str(masks[name]) for lesion, masks in by_lesion.items() if name in masks},
            **facts.get(name, {}),
        }
        for name, photo in photos.items()
    ]
    lesions_of(items)  # refuses those of fundus photos beside those of OCTA images
    if "split" not in items[0]:
        items = _split(root, items)
    unlearnt = _unlearnt(items)
    if unlearnt and any(item["split"] == "training" for item in items):
        warnings.warn(
            f"{root}: no photo for training has a mask of {', '.join(unlearnt)}: choose other splits in {TABLE}",
            stacklevel=2,
        )
    # photos are in natural order, and the sort is stable
    return sorted(items, key=lambda item: SPLITS.index(item["split"]))


def _masks(root: Path, photos: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """Return lesion -> photo -> mask."""
    folder = find_folder(root, MASKS)
    folders: dict[str, Path] = {}
    for path in _visible(folder) if folder else []:
        if not path.is_dir():
            raise InputError(f"{path}: this file is in no lesion's folder; move it to {MASKS}/<lesion>")
        lesion = lesion_of_name(path.name)
        if fault := name_fault(lesion):
            raise InputError(f"{path}: {path.name!r} {fault}")
        if lesion in folders:
            raise InputError(f"{path}: {folders[lesion].name} is a folder of the same lesion; keep one of the two")
        folders[lesion] = path
    if not folders:
        raise InputError(
            f"{root / MASKS}: there are no masks to learn from; put them into {MASKS}/<lesion>, named as their photos"
        )
    return {lesion: _masks_in(path, photos) for lesion, path in folders.items()}


def _masks_in(folder: Path, photos: Mapping[str, Path]) -> dict[str, Path]:
    for path in _visible(folder):
        # left out in silence, its lesion would count as absent
        if path.is_dir() or path.suffix.lower() not in PHOTO_SUFFIXES:
            raise InputError(f"{path}: this is no mask ({', '.join(PHOTO_SUFFIXES)}); save it as PNG or move it away")
    masks = match_masks(folder, photos)
    if not masks:
        raise InputError(f"{folder}: this folder holds no mask; put the lesion's masks there or remove it")
    return masks


def _visible(folder: Path) -> list[Path]:
    paths = sorted(folder.iterdir())
    return [path for path in paths if path.name[0] != "." and path.name.lower() not in SYSTEM_FILES]


def _split(root: Path, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(items) < 2:
        raise InputError(f"{root / PHOTOS}: two photos are needed, one to train and one to validate; add a photo")
    folds = min(FOLDS, len(items))
    dealt = deal_folds(items, folds)
    choices = [hold_out_fold(dealt, fold) for fold in range(folds)]
    chosen = next((choice for choice in choices if not _unlearnt(choice)), choices[0])
    return [{key: value for key, value in item.items() if key != "fold"} for item in chosen]


def _unlearnt(items: list[dict[str, Any]]) -> list[str]:
    """Return the lesions of which no photo for training has a mask."""
    learnt = {lesion for item in items if item["split"] == "training" for lesion in item["label"]}
    return [lesion for lesion in lesions_of(items) if lesion not in learnt]
