"""One row per lesion found, one line of counts and areas per photo."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from tinylesions.datasets.atomic import atomic_path
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import LESIONS
from tinylesions.transforms.nuclei_table import NUCLEI_COLUMNS

__all__ = ["COLUMNS", "collect_tables", "lesion_components", "photo_summary", "write_table"]

COLUMNS = {
    "lesion": "str",
    "component": "int64",
    "area_px": "int64",
    "centroid_x": "float64",
    "centroid_y": "float64",
    "box_left": "int64",
    "box_top": "int64",
    "box_width": "int64",
    "box_height": "int64",
    "mean_probability": "float64",
    "max_probability": "float64",
}
"""The columns of a lesion table and their types. Lengths are pixels of the photo, x to the right and y down;
(0, 0) is the centre of the top left pixel."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def lesion_components(masks: np.ndarray, probabilities: np.ndarray, lesions: Sequence[str] = LESIONS) -> pd.DataFrame:
    """Measure every lesion of a photo: each 8-connected component of a mask is one row.

    Args:
        masks: (K, H, W) bool, one for each of `lesions`; they may overlap.
        probabilities: (K, H, W) float, 0 to 1, likewise. A component's mean and maximum are those of its own lesion.
        lesions: the K lesions that were looked for, the four of a fundus photo by default.

    Returns:
        a table with the columns :data:`COLUMNS`; the components of a lesion are numbered from 1 in reading order, by
        their first pixel from the top, then from the left.

    Raises:
        ValueError: the shapes do not fit together.

    Example:
        >>> masks = np.zeros((4, 6, 8), dtype=bool)
        >>> masks[LESIONS.index("haemorrhage"), 2:4, 1:4] = True
        >>> table = lesion_components(masks, np.full((4, 6, 8), 0.5))
        >>> table[["lesion", "area_px", "centroid_x", "centroid_y"]].to_dict("records")
        [{'lesion': 'haemorrhage', 'area_px': 6, 'centroid_x': 2.0, 'centroid_y': 2.5}]
    """
    if not len(lesions) == len(masks) or masks.shape != probabilities.shape:
        raise ValueError(
            f"masks and probabilities of {len(lesions)} lesions have to be of one size, got {masks.shape} and"
            f" {probabilities.shape}"
        )
    tables = [
        _measure(lesion, mask, channel) for lesion, mask, channel in zip(lesions, masks, probabilities, strict=True)
    ]
    return pd.concat(tables, ignore_index=True).astype(COLUMNS)


def _measure(lesion: str, mask: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Table of the components of one (H, W) bool mask."""
    height, width = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if height.size == 0:
        return pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)
    top, left = height[0], width[0]
    box = (slice(top, height[-1] + 1), slice(left, width[-1] + 1))
    components, count = ndimage.label(mask[box], structure=_EIGHT_NEIGHBOURS)
    # every sum below runs over the lesion's pixels only, some thousandths of the photo
    rows, columns = np.nonzero(components)
    number = components[rows, columns] - 1
    values = probability[box][rows, columns].astype(np.float64)
    area = np.bincount(number)
    boxes = ndimage.find_objects(components)
    table = pd.DataFrame(
        {
            "lesion": lesion,
            "area_px": area,
            "centroid_x": np.bincount(number, columns) / area + left,
            "centroid_y": np.bincount(number, rows) / area + top,
            "box_left": [part.start + left for _, part in boxes],
            "box_top": [part.start + top for part, _ in boxes],
            "box_width": [part.stop - part.start for _, part in boxes],
            "box_height": [part.stop - part.start for part, _ in boxes],
            "mean_probability": np.bincount(number, values) / area,
            "max_probability": ndimage.maximum(values, number, np.arange(count)),
        }
    )
    # scipy does not promise an order: the components' first pixels give the reading order
    _, first = np.unique(number, return_index=True)
    table = table.iloc[np.argsort(first)]
    table.insert(1, "component", np.arange(1, count + 1))
    return table


def photo_summary(table: pd.DataFrame, field_of_view_area: int, lesions: Sequence[str] = LESIONS) -> dict[str, int]:
    """Counts and areas of one photo.

    Args:
        table: what :func:`lesion_components` gave.
        field_of_view_area: in pixels.
        lesions: the lesions that were looked for.

    Returns:
        ``field_of_view_area_px`` and, for each of the lesions, ``<lesion>_count`` and ``<lesion>_area_px``.
    """
    summary = {"field_of_view_area_px": int(field_of_view_area)}
    for lesion in lesions:
        areas = table.loc[table["lesion"] == lesion, "area_px"]
        summary |= {f"{lesion}_count": len(areas), f"{lesion}_area_px": int(areas.sum())}
    return summary


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, UTF-8, line feeds and six significant digits on every system."""
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n", encoding="utf-8")


def collect_tables(
    folders: Iterable[str | Path], output_dir: str | Path, table: str = "lesions.csv", item: str = "photo"
) -> tuple[Path, Path]:
    """Join the tables of many photos: ``lesions.csv``, a row per lesion, and ``photos.csv``, a row per photo.

    Of tiles with nuclei they are ``nuclei.csv`` and ``tiles.csv``.

    Args:
        folders: the photos' folders, as :class:`~tinylesions.transforms.save_lesions.SaveLesionsd` or
            :class:`~tinylesions.transforms.save_nuclei.SaveNucleid` wrote them; the tables keep their order.
        output_dir: where the two files are written.
        table: name of the table in each folder, ``"lesions.csv"`` or ``"nuclei.csv"``.
        item: what a folder is of, ``"photo"`` or ``"tile"``.

    Returns:
        the paths of `table` and of ``photos.csv`` or ``tiles.csv``.

    Raises:
        InputError: there is no folder, a folder's tables are missing or unreadable, or the files cannot be written.
    """
    folders = list(folders)
    if not folders:
        raise InputError(f"{output_dir} gets no tables, no {item} was predicted: correct the {item}s' errors first.")
    tables, summaries = zip(*(_read_folder(Path(folder), table, item) for folder in folders), strict=True)
    paths = Path(output_dir) / table, Path(output_dir) / f"{item}s.csv"
    joined = pd.concat(tables, ignore_index=True), pd.DataFrame(summaries)
    for rows, path in zip(joined, paths, strict=True):
        with atomic_path(path) as temporary:
            write_table(rows, temporary)
    return paths


def _read_folder(folder: Path, table: str, item: str) -> tuple[pd.DataFrame, dict[str, object]]:
    try:
        # names stay text: a photo may be called 007 or NA
        types = {item: "str", **COLUMNS, **NUCLEI_COLUMNS}
        rows = pd.read_csv(folder / table, dtype=types, keep_default_na=False)
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        # what belongs to the weights and not to the photo is no column
        return rows, {name: fact for name, fact in summary.items() if name != "thresholds"}
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no complete prediction, its {table} or summary.json cannot be read: predict this {item}"
            " again."
        ) from error
