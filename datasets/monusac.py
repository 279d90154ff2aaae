"""Reads MoNuSAC's official layout (209 training and 85 test tiles, nuclei of four classes)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import InputError
from .photos import PHOTO_SUFFIXES, natural_key
from .tile_splits import split_tiles

__all__ = ["monusac"]

TRAINING, TESTING = "MoNuSAC_images_and_annotations", "MoNuSAC Testing Data and Annotations"
LAYOUT = f"{TRAINING}/TCGA-5P-A9K0-01Z-00-DX1/TCGA-5P-A9K0-01Z-00-DX1_1.tif"
# of a tile in several formats the first is read; a .svs is a TIFF
SUFFIXES = (".tif", ".tiff", *(suffix for suffix in PHOTO_SUFFIXES if suffix not in (".tif", ".tiff")), ".svs")
OUTLINES = ".xml"


def monusac(
    root: Path | str,
    split_rule: str = "source",
    validation_share: float = 0.1,
    test_share: float = 0.1,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """List MoNuSAC's tiles with their splits; see `split_tiles` for these.

    Where the folder of the official test set is there, too, it is the test split: ``test_share`` plays no part, and
    ``validation_share`` is of the other tiles. Without it, both shares are of all tiles, as in the class imbalance
    paper (004). A tile's source is its patient, from the folder's name: of a TCGA barcode the first three fields.

    Args:
        root: the folder that holds `MoNuSAC_images_and_annotations` and, if wanted, `MoNuSAC Testing Data and
            Annotations` (whatever their case, `_` for blanks or the reverse), or the first of these itself: a folder
            for each patient, holding `<tile>.tif` (else `.svs`, or another photo) and `<tile>.xml`.
        split_rule: ``"source"`` (no patient in two splits) or ``"random"`` (as paper 004).
        validation_share: of the tiles.
        test_share: of the tiles, where there is no official test set.
        seed: of the split.

    Returns:
        items with ``id`` (the tile's stem), ``image``, ``label`` (the XML), ``source`` and ``split``.

    Raises:
        InputError: a folder is missing or empty, a tile has no XML or the reverse, two tiles have one name, or what
            `split_tiles` refuses.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one that holds {TRAINING}")
    training_folder, testing_folder = _find(root, TRAINING), _find(root, TESTING)
    if testing_folder and not training_folder:
        raise InputError(f'{root / TRAINING}: this folder is missing; the official layout is "{LAYOUT}"')
    items = _read(training_folder or root)
    testing = _read(testing_folder) if testing_folder else []
    _refuse_doubles([*items, *testing])
    if not testing:
        return split_tiles(items, split_rule, validation_share, test_share, seed, str(root))
    both = {item["source"] for item in items} & {item["source"] for item in testing}
    if both:
        warnings.warn(f"{root}: {min(both)} is a patient of the training and of the test folder", stacklevel=2)
    return [
        *split_tiles(items, split_rule, validation_share, 0, seed, str(root)),
        *({**item, "split": "test"} for item in testing),
    ]


def _find(root: Path, name: str) -> Path | None:
    wanted = _folded(name)
    return next((child for child in sorted(root.iterdir()) if child.is_dir() and _folded(child.name) == wanted), None)


def _folded(name: str) -> str:
    return name.casefold().replace("_", " ")


def _read(folder: Path) -> list[dict[str, Any]]:
    patients = sorted((child for child in _visible(folder) if child.is_dir()), key=lambda path: natural_key(path.name))
    items = [item for patient in patients for item in _read_patient(patient)]
    if not items:
        raise InputError(f'{folder}: there is no tile in its folders; the official layout is "{LAYOUT}"')
    return items


def _read_patient(folder: Path) -> list[dict[str, Any]]:
    tiles: dict[str, Path] = {}
    outlines: dict[str, Path] = {}
    for path in sorted(_visible(folder), key=lambda path: natural_key(path.name)):
        suffix = path.suffix.lower()
        if suffix == OUTLINES:
            outlines[path.stem] = path
        elif suffix in SUFFIXES and (path.stem not in tiles or _rank(path) < _rank(tiles[path.stem])):
            tiles[path.stem] = path
    for stem in sorted(tiles.keys() ^ outlines.keys()):
        if stem in tiles:
            raise InputError(f"{tiles[stem]}: this tile has no {stem}{OUTLINES} beside it; copy it, or remove the tile")
        raise InputError(f"{outlines[stem]}: these outlines have no tile; copy {stem}.tif there, or remove the file")
    source = _patient(folder.name)
    return [
        {"id": stem, "image": str(path), "label": str(outlines[stem]), "source": source} for stem, path in tiles.items()
    ]


def _rank(path: Path) -> int:
    return SUFFIXES.index(path.suffix.lower())


def _visible(folder: Path) -> Iterable[Path]:
    return (child for child in folder.iterdir() if not child.name.startswith("."))


def _patient(folder_name: str) -> str:
    fields = folder_name.split("-")
    return "-".join(fields[:3]) if fields[0].upper() == "TCGA" else folder_name


def _refuse_doubles(items: Iterable[dict[str, Any]]) -> None:
    seen: dict[str, str] = {}
    for item in items:
        double = seen.setdefault(item["id"].casefold(), item["image"])
        if double != item["image"]:
            raise InputError(f"{item['image']}: {double} has the same name; keep one of the two")
