"""Write histology phantoms in CoNIC's official layout."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinylesions.datasets.conic import COLUMN, IMAGES, LABELS, PATCHES
from tinylesions.datasets.nuclei import CONIC_CLASSES
from tinylesions.datasets.phantoms.histology import SMALLEST_TILE, TILE_SIZE
from tinylesions.datasets.phantoms.histology_sources import draw_sources

__all__ = ["write_conic"]


def write_conic(
    root: str | Path,
    training: int,
    validation: int,
    test: int,
    *,
    size: tuple[int, int] = TILE_SIZE,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> Path:
    """Write `images.npy`, `labels.npy`, `patch_info.csv` and `counts.csv`.

    CoNIC has no official split, so the three numbers are added up: the reader splits by source. The patches of source n
    are called ``phantom_n-0000`` and so on. Arrays are written patch by patch and never held in memory.

    Args:
        root: folder that gets the files; made if missing.
        training: number of patches for training.
        validation: number of patches for validation.
        test: number of patches for testing.
        size: (height, width) of the patches in pixels, (64, 64) at least.
        seed: the same seed, numbers and size give the same files.
        progress: called after each patch.

    Returns:
        ``root``.

    Raises:
        ValueError: a size that is too small, or no patch at all.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = write_conic(folder, 2, 1, 1, size=(64, 64))
        ...     np.load(root / "labels.npy").shape, (root / "patch_info.csv").read_text().split()[:2]
        ((4, 64, 64, 2), ['patch_info', 'phantom_1-0000'])
    """
    count = training + validation + test
    if count < 1:
        raise ValueError(f"{count} patches cannot be written; ask for one at least")
    if size[0] < SMALLEST_TILE[0] or size[1] < SMALLEST_TILE[1]:
        raise ValueError(f"size is {tuple(size)}; draw tiles of at least {SMALLEST_TILE} pixels (height, width)")
    folder = Path(root)
    folder.mkdir(parents=True, exist_ok=True)
    open_array = np.lib.format.open_memmap
    images = open_array(folder / IMAGES, mode="w+", dtype=np.uint8, shape=(count, *size, 3))
    labels = open_array(folder / LABELS, mode="w+", dtype=np.int32, shape=(count, *size, 2))
    names: list[list[str]] = []
    counts: list[list[int]] = []
    for place, (source, index, image, label) in enumerate(draw_sources(seed, "conic", count, size, "conic")):
        images[place], labels[place] = image, label
        names.append([f"phantom_{source + 1}-{index:04d}"])
        counts.append(_count_nuclei(label))
        if progress is not None:
            progress()
    images.flush()
    labels.flush()
    _write_table(folder / PATCHES, [COLUMN], names)
    _write_table(folder / "counts.csv", list(CONIC_CLASSES[1:]), counts)
    return folder


def _count_nuclei(label: np.ndarray) -> list[int]:
    """Number of nuclei of each class but the background."""
    _, first = np.unique(label[..., 0], return_index=True)
    classes = label[..., 1].ravel()[first]
    return np.bincount(classes, minlength=len(CONIC_CLASSES))[1:].tolist()


def _write_table(path: Path, columns: list[str], rows: list[list[str]] | list[list[int]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])
