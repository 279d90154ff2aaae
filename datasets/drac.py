"""Reads DRAC2022's official segmentation layout (174 ultra-wide OCTA images, three lesions)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .datalists import select
from .errors import InputError
from .layouts import find_folder, match_masks, photos_by_id, require_folder
from .lesions import OCTA_LESION_CODES, OCTA_LESIONS
from .splits import VALIDATION_SHARE, multilabel_split

__all__ = ["drac_segmentation", "images_with", "images_with_truth"]

IMAGES, MASKS = "1. Original Images", "2. Groundtruths"
TRAINING, TESTING = "a. Training Set", "b. Testing Set"
LESION_FOLDERS = {
    "intraretinal_microvascular_abnormality": "1. Intraretinal Microvascular Abnormalities",
    "nonperfusion_area": "2. Nonperfusion Areas",
    "neovascularisation": "3. Neovascularization",
}
IMAGE_LAYOUT = f"A. Segmentation/{IMAGES}/{TRAINING}/1.png"
MASK_LAYOUT = f"A. Segmentation/{MASKS}/{TRAINING}/{LESION_FOLDERS['nonperfusion_area']}/1.png"
PUBLISHED = (109, 65, [86, 106, 35])
"""Training images, test images, and how many of the training images hold each lesion (UW-OCTA paper (002))."""


def drac_segmentation(root: Path | str, seed: int = 0) -> list[dict[str, Any]]:
    """List DRAC2022's images with their masks and splits.

    The layout is the official one, folder names whatever their case. A fifth of the official training images
    validates, drawn by `multilabel_split` from the lesions that they hold: each lesion keeps its share, and the split
    is one for all lesions, so that a merged network is never scored on images that one of its parts was trained on. The
    truth of the testing set is hidden: its items have no ``label``, and masks of it are not looked for; it may be
    missing. Other counts than the paper's give a warning.

    Args:
        root: the folder that holds `A. Segmentation`, or that folder.
        seed: of the split.

    Returns:
        items as `idrid_segmentation` gives them, without optic disc, and without `label` in `test`.

    Raises:
        InputError: a folder or image of the layout is missing, a mask's image is, or an image is in both sets.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one that holds DRAC2022's A. Segmentation")
    base = find_folder(root, "A. Segmentation") or root
    training = _read_training(base)
    testing = _read_testing(base)
    twice = {item["id"] for item in training} & {item["id"] for item in testing}
    if twice:
        raise InputError(f"{base}: {min(twice)} is in the training and in the testing set; remove it from one")
    held = [sum(lesion in item["label"] for item in training) for lesion in OCTA_LESIONS]
    found = (len(training), len(testing), held)
    if found != PUBLISHED:
        warnings.warn(f"{base}: {_counts(*found)}, where the paper has {_counts(*PUBLISHED)}", stacklevel=2)
    held_out = multilabel_split({item["id"]: item["label"] for item in training}, VALIDATION_SHARE, seed)
    return [
        *({**item, "split": "training"} for item in training if item["id"] not in held_out),
        *({**item, "split": "validation"} for item in training if item["id"] in held_out),
        *({**item, "split": "test"} for item in testing),
    ]


def images_with(items: Iterable[dict[str, Any]], lesion: str) -> list[dict[str, Any]]:
    """Return the items that hold a lesion: a network for it is trained on those alone (UW-OCTA paper (002)).

    Args:
        items: a datalist, as a rule of one split.
        lesion: one of `OCTA_LESIONS`.

    Raises:
        InputError: no image holds it, or there is no such lesion.
    """
    if lesion not in OCTA_LESIONS:
        names = ", ".join(f"{name} ({code})" for name, code in OCTA_LESION_CODES.items())
        raise InputError(f"there is no lesion {lesion!r} in OCTA images: choose one of {names}.")
    found = [item for item in items if lesion in item.get("label", {})]
    if not found:
        raise InputError(
            f"no image has a mask of {lesion} ({OCTA_LESION_CODES[lesion]}): add images that hold it to this split,"
            " or choose another lesion."
        )
    return found


def images_with_truth(items: Sequence[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """Return the items of a split, all of which can be scored; those without a lesion too.

    Raises:
        InputError: the truth of an item is hidden, or the split is empty.
    """
    found = select(items, split)
    if any("label" not in item for item in found):
        raise InputError(
            f"images of {split!r} have no masks to score, as DRAC2022 keeps those of its test images: choose another"
            " split, or write what the challenge takes with drac_submission."
        )
    return found


def _read_training(base: Path) -> list[dict[str, Any]]:
    images = photos_by_id(require_folder(base, (IMAGES, TRAINING), IMAGE_LAYOUT))
    masks = {
        lesion: match_masks(require_folder(base, (MASKS, TRAINING, LESION_FOLDERS[lesion]), MASK_LAYOUT), images)
        for lesion in OCTA_LESIONS
    }
    return [
        {
            "id": name,
            "image": str(image),
            "label": {lesion: str(found[name]) for lesion, found in masks.items() if name in found},
        }
        for name, image in images.items()
    ]


def _read_testing(base: Path) -> list[dict[str, Any]]:
    folder = find_folder(require_folder(base, (IMAGES,), IMAGE_LAYOUT), TESTING)
    images = photos_by_id(folder) if folder else {}
    return [{"id": name, "image": str(image)} for name, image in images.items()]


def _counts(training: int, testing: int, held: Iterable[int]) -> str:
    codes = "/".join(OCTA_LESION_CODES[lesion] for lesion in OCTA_LESIONS)
    return f"{training} training images, {'/'.join(map(str, held))} of them with {codes}, and {testing} test images"
