"""Reads CoNIC's official layout (4,981 H&E patches of 256×256, nuclei of six classes), and data sets laid out so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import InputError
from .tile_arrays import open_labels, open_tiles
from .tile_splits import split_tiles

__all__ = ["conic"]

IMAGES, LABELS, PATCHES = "images.npy", "labels.npy", "patch_info.csv"
COLUMN = "patch_info"


def conic(
    root: Path | str,
    split_rule: str = "source",
    validation_share: float = 0.1,
    test_share: float = 0.1,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """List CoNIC's patches with their splits; see `split_tiles` for these.

    Only the headers of the arrays are read. A patch's name in `patch_info.csv` is that of the image it was cut from and
    a number (`consep_1-0000`, `train_10_000`): that image is its source. CoNIC has no official split.

    Args:
        root: the folder of `images.npy` (N, H, W, 3) uint8, `labels.npy` (N, H, W, 2) of integers, instance id and
            class, and `patch_info.csv` with a column of that name; without the latter, ids are numbers and the split is
            by ``"random"``. `counts.csv` is not needed.
        split_rule: ``"source"`` (no image in two splits) or ``"random"`` (as paper 004).
        validation_share: of the patches.
        test_share: of the patches.
        seed: of the split.

    Returns:
        items with ``id``, ``image``, ``label``, ``index`` (of the patch in both arrays), ``source`` and ``split``;
        without `patch_info.csv`, ``source`` is the id.

    Raises:
        InputError: a file is missing, of another form, or does not fit the others; or what `split_tiles` refuses.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; name the one that holds CoNIC's {IMAGES}")
    images, labels = open_tiles(root / IMAGES), open_labels(root / LABELS)
    if images.shape[:3] != labels.shape[:3]:
        raise InputError(
            f"{root / LABELS}: labels are {_form(labels.shape)} and {IMAGES} is {_form(images.shape)}"
            " (number × height × width); put the files of one data set there"
        )
    if (root / PATCHES).is_file():
        names = _patch_names(root / PATCHES, len(images))
        sources = [_source(name, root / PATCHES, split_rule) for name in names]
    elif split_rule == "source":
        raise InputError(
            f"{root / PATCHES}: this file is missing, and with it the images that patches were cut from;"
            " put it there, or choose split_rule random (check-data: --split-rule random)"
        )
    else:
        names = sources = [f"{number:0{len(str(len(images) - 1))}}" for number in range(len(images))]
    items = [
        {"id": name, "image": str(root / IMAGES), "label": str(root / LABELS), "index": index, "source": source}
        for index, (name, source) in enumerate(zip(names, sources, strict=True))
    ]
    return split_tiles(items, split_rule, validation_share, test_share, seed, str(root))


def _patch_names(path: Path, count: int) -> list[str]:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the table cannot be read ({error}); copy or download it again") from error
    if COLUMN not in table:
        raise InputError(f"{path}: there is no column {COLUMN}; put CoNIC's own table there")
    names = table[COLUMN].str.strip().tolist()
    if len(names) != count:
        raise InputError(f"{path}: {len(names)} names for {count} patches; put the table of this {IMAGES} there")
    seen: set[str] = set()
    for row, name in enumerate(names, start=2):
        if not name or name in seen:
            problem = f"names {name}, which is there already" if name else "is empty"
            raise InputError(f"{path}: row {row} {problem}; each patch has a name of its own")
        seen.add(name)
    return names


def _source(name: str, path: Path, split_rule: str) -> str:
    match = re.fullmatch(r"(.+)[-_]\d+", name)
    if match:
        return match[1]
    if split_rule == "source":
        raise InputError(
            f"{path}: {name!r} is not the name of an image and a number, as consep_1-0000; correct it, or choose"
            " split_rule random (check-data: --split-rule random)"
        )
    return name


def _form(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape[:3]))
