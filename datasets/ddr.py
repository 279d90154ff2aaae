"""Reads DDR's official lesion segmentation layout (757 photos, four lesions)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from .errors import InputError
from .layouts import find_folder, match_masks, photos_by_id, require_folder
from .lesions import LESION_CODES

__all__ = ["ddr_segmentation"]

SPLITS = {"training": ("train", 383), "validation": ("valid", 149), "test": ("test", 225)}
LABEL_FOLDERS = {"train": ("label",), "valid": ("segmentation label", "label"), "test": ("label",)}


def ddr_segmentation(root: Path | str) -> list[dict[str, Any]]:
    """List DDR's photos with their masks and official splits.

    DDR has a file for every photo and lesion, black where the lesion is absent: read them with `allow_empty=True`. A
    missing file counts as an absent lesion, with a warning. Other counts than 383/149/225 (Multi-task UNet++ paper
    (001), table 1), or a missing `valid` or `test` folder, give a warning, too.

    Args:
        root: the folder that holds `lesion_segmentation`, or that folder; names in any case.

    Returns:
        items as `idrid_segmentation` gives them, without optic disc.

    Raises:
        InputError: a folder or photo of the layout is missing, or a mask's photo is.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one that holds DDR's lesion_segmentation")
    base = find_folder(root, "lesion_segmentation") or root
    items: list[dict[str, Any]] = []
    counts = []
    for split, (folder, _) in SPLITS.items():
        found = _read_split(base, folder) if split == "training" or find_folder(base, folder) else []
        items += [{**item, "split": split} for item in found]
        counts.append(len(found))
    published = [count for _, count in SPLITS.values()]
    if counts != published:
        warnings.warn(
            f"{base}: {_counts(counts)} photos for training/validation/test where the paper has {_counts(published)}",
            stacklevel=2,
        )
    lacking = [item["id"] for item in items if len(item["label"]) < len(LESION_CODES)]
    if lacking:
        warnings.warn(
            f"{base}: {len(lacking)} photos (first {lacking[0]}) lack a mask file, which DDR has for each lesion,"
            " present or not; their lesions count as absent",
            stacklevel=2,
        )
    return items


def _read_split(base: Path, folder: str) -> list[dict[str, Any]]:
    label_folders = LABEL_FOLDERS[folder]
    layout = f"lesion_segmentation/{folder}"
    photos = photos_by_id(require_folder(base, (folder, "image"), f"{layout}/image/007-0004-000.jpg"))
    above = require_folder(base, (folder,), layout)
    labels = next((name for name in label_folders if find_folder(above, name)), label_folders[0])
    by_lesion = {
        lesion: match_masks(require_folder(above, (labels, code), f"{layout}/{labels}/{code}/007-0004-000.tif"), photos)
        for lesion, code in LESION_CODES.items()
    }
    return [
        {
            "id": name,
            "image": str(photo),
            "label": {lesion: str(found[name]) for lesion, found in by_lesion.items() if name in found},
        }
        for name, photo in photos.items()
    ]


def _counts(numbers: list[int]) -> str:
    return "/".join(map(str, numbers))
