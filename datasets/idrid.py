"""Reads IDRiD's official segmentation layout (81 photos, four lesions and the optic disc)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import InputError
from .layouts import find_folder, match_masks, photos_by_id, require_folder
from .lesions import LESION_CODES
from .splits import VALIDATION_SHARE, stratified_split

__all__ = ["IDRID_VALIDATION_IDS", "idrid_segmentation"]

IDRID_VALIDATION_IDS = tuple(f"IDRiD_{n:02}" for n in (2, 4, 6, 8, 21, 22, 24, 27, 28, 30, 34, 35, 42, 49))
"""The 14 of the 54 training photos that validate; the paper does not say which it took.

Drawn once: `sorted(numpy.random.default_rng(11).choice(54, 14, replace=False) + 1)`; 11 is the first seed that leaves
16 and 4 of the photos 01 to 20, a part of the set that is often passed on alone.
"""

SplitRule = Literal["40/14/27", "43/11/27", "54/27"]

PHOTOS, MASKS = "1. Original Images", "2. All Segmentation Groundtruths"
TRAINING, TESTING = "a. Training Set", "b. Testing Set"
LESION_FOLDERS = {
    "microaneurysm": "1. Microaneurysms",
    "haemorrhage": "2. Haemorrhages",
    "hard_exudate": "3. Hard Exudates",
    "soft_exudate": "4. Soft Exudates",
}
OPTIC_DISC_FOLDER = "5. Optic Disc"
PHOTO_LAYOUT = f"A. Segmentation/{PHOTOS}/{TRAINING}/IDRiD_01.jpg"
MASK_LAYOUT = f"A. Segmentation/{MASKS}/{TRAINING}/{LESION_FOLDERS['microaneurysm']}/IDRiD_01_MA.tif"


def idrid_segmentation(root: Path | str, split_rule: SplitRule = "40/14/27") -> list[dict[str, Any]]:
    """List IDRiD's photos with their masks and splits.

    The layout is the official one, folder names whatever their case. Where photos are missing the same rule is applied
    to those that are there, and a warning gives the counts. Where that would leave validation or training empty, the
    last 14/54 of the photos in natural order (rounded, at least one) validate.

    Args:
        root: the folder that holds `A. Segmentation`, or that folder.
        split_rule: "40/14/27" keeps `IDRID_VALIDATION_IDS` of the official training set for validation (Multi-task
            UNet++ paper (001), table 1), "43/11/27" a seeded fifth (grading and segmentation paper (003), sections
            4.1.2 and 4.6), "54/27" none.

    Returns:
        items `{"id", "image": path, "label": {lesion: path}, "split": "training" | "validation" | "test"}`, with
        `"optic_disc": path` where there is one; a lesion that is absent is not in `label`. Sorted by split and id.

    Raises:
        InputError: a folder or photo of the layout is missing, or a mask's photo is.
        ValueError: an unknown `split_rule`.
    """
    if split_rule not in get_args(SplitRule):
        raise ValueError(f"split_rule must be one of {', '.join(get_args(SplitRule))}, not {split_rule!r}")
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one that holds IDRiD's A. Segmentation")
    base = find_folder(root, "A. Segmentation") or root
    training = _read_set(base, TRAINING)
    testing = _read_set(base, TESTING) if _has_testing(base) else []
    twice = {item["id"] for item in training} & {item["id"] for item in testing}
    if twice:
        raise InputError(f"{base}: {min(twice)} is in the training and in the testing set; remove it from one")
    held_out = _validation_ids([item["id"] for item in training], split_rule)
    by_split = {
        "training": [item for item in training if item["id"] not in held_out],
        "validation": [item for item in training if item["id"] in held_out],
        "test": testing,
    }
    splits = ("training", "test") if split_rule == "54/27" else ("training", "validation", "test")
    found = "/".join(str(len(by_split[split])) for split in splits)
    if found != split_rule:
        warnings.warn(
            f"{base}: {found} photos for {'/'.join(splits)} where the paper has {split_rule}",
            stacklevel=2,
        )
    return [{**item, "split": split} for split in splits for item in by_split[split]]


def _read_set(base: Path, name: str) -> list[dict[str, Any]]:
    photos = photos_by_id(require_folder(base, (PHOTOS, name), PHOTO_LAYOUT))
    masks = require_folder(base, (MASKS, name), MASK_LAYOUT)
    by_lesion = {
        lesion: match_masks(require_folder(masks, (folder,), MASK_LAYOUT), photos, f"_{LESION_CODES[lesion]}")
        for lesion, folder in LESION_FOLDERS.items()
    }
    disc_folder = find_folder(masks, OPTIC_DISC_FOLDER)
    discs = match_masks(disc_folder, photos, "_OD") if disc_folder else {}
    items = []
    for name_, photo in photos.items():
        label = {lesion: str(found[name_]) for lesion, found in by_lesion.items() if name_ in found}
        disc = {"optic_disc": str(discs[name_])} if name_ in discs else {}
        items.append({"id": name_, "image": str(photo), "label": label, **disc})
    return items


def _has_testing(base: Path) -> bool:
    parents = [find_folder(base, name) for name in (PHOTOS, MASKS)]
    return any(parent and find_folder(parent, TESTING) for parent in parents)


def _validation_ids(ids: Sequence[str], split_rule: SplitRule) -> set[str]:
    if split_rule == "54/27":
        return set()
    if split_rule == "43/11/27":
        return stratified_split(dict.fromkeys(ids, 0), VALIDATION_SHARE)  # without grades, all are of one
    held_out = set(ids) & set(IDRID_VALIDATION_IDS)
    if len(ids) > 1 and len(held_out) in (0, len(ids)):
        return set(ids[-max(1, round(len(ids) * 14 / 54)) :])
    return held_out
