"""One row per nucleus, one line of counts and areas per tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from tinylesions.transforms.nuclei_instances import nuclei_instances

__all__ = ["NUCLEI_COLUMNS", "nuclei_table", "removed_by_reuse", "tile_summary"]

NUCLEI_COLUMNS = {
    "nucleus_class": "str",
    "nucleus": "int64",
    "area_px": "int64",
    "centroid_x": "float64",
    "centroid_y": "float64",
    "box_left": "int64",
    "box_top": "int64",
    "box_width": "int64",
    "box_height": "int64",
    "mean_probability": "float64",
}
"""The columns of a table of nuclei and their types. Lengths are pixels of the tile, x to the right and y down; (0, 0)
is the centre of the top left pixel."""


def nuclei_table(nuclei: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """Measure every nucleus of a tile.

    Args:
        nuclei: (2, H, W) as :func:`~tinylesions.transforms.nuclei_instances.nuclei_instances` gives them: numbers
            1 to n, and classes.
        probabilities: (K, H, W) float, of the K classes; a nucleus has the mean of its own class.
        class_names: the background first.

    Returns:
        a table with the columns :data:`NUCLEI_COLUMNS`, a row for each nucleus in the order of their numbers.

    Raises:
        ValueError: the shapes do not fit together.

    Example:
        >>> nuclei = np.zeros((2, 6, 8), dtype=np.int32)
        >>> nuclei[:, 2:4, 1:4] = [[[1]], [[2]]]
        >>> table = nuclei_table(nuclei, np.full((3, 6, 8), 0.5), ["background", "plasma", "connective"])
        >>> table[["nucleus_class", "area_px", "centroid_x", "centroid_y"]].to_dict("records")
        [{'nucleus_class': 'connective', 'area_px': 6, 'centroid_x': 2.0, 'centroid_y': 2.5}]
    """
    if nuclei.shape != (2, *probabilities.shape[1:]) or len(probabilities) != len(class_names):
        raise ValueError(
            f"nuclei (2, H, W) and probabilities of {len(class_names)} classes have to be of one size, got"
            f" {nuclei.shape} and {probabilities.shape}"
        )
    rows, columns = np.nonzero(nuclei[0])
    number, class_ = nuclei[:, rows, columns]
    place = number - 1
    area = np.bincount(place)
    boxes = ndimage.find_objects(nuclei[0])
    own = probabilities[class_, rows, columns].astype(np.float64)
    classes = np.empty(len(area), dtype=np.intp)
    classes[place] = class_
    table = {
        "nucleus_class": [class_names[index] for index in classes.tolist()],
        "nucleus": np.arange(1, len(area) + 1),
        "area_px": area,
        "centroid_x": np.bincount(place, columns) / area,
        "centroid_y": np.bincount(place, rows) / area,
        "box_left": [part.start for _, part in boxes],
        "box_top": [part.start for part, _ in boxes],
        "box_width": [part.stop - part.start for _, part in boxes],
        "box_height": [part.stop - part.start for part, _ in boxes],
        "mean_probability": np.bincount(place, own) / area,
    }
    return pd.DataFrame(table).astype(NUCLEI_COLUMNS)


def tile_summary(table: pd.DataFrame, class_map: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Counts and areas of one tile.

    Args:
        table: what :func:`nuclei_table` gave.
        class_map: (H, W), of which the nuclei are.
        class_names: the background first.

    Returns:
        ``background_share`` of the class map's pixels, and for each other class ``<class>_count`` and
        ``<class>_area_px`` of the nuclei in the table.
    """
    summary: dict[str, Any] = {"background_share": round(float(np.mean(class_map == 0)), 6)}
    for name in class_names[1:]:
        areas = table.loc[table["nucleus_class"] == name, "area_px"]
        summary |= {f"{name}_count": len(areas), f"{name}_area_px": int(areas.sum())}
    return summary


def removed_by_reuse(multi_class: np.ndarray, combined: np.ndarray, minimum_area: int) -> dict[str, int]:
    """What the background of the binary network took from the multi-class network's result.

    Args:
        multi_class: class map (H, W) of the multi-class network.
        combined: class map (H, W) with the background of both.
        minimum_area: pieces of fewer pixels are no nuclei.

    Returns:
        ``reuse_removed_px``: pixels of a nucleus in the one and of the background in the other, and
        ``reuse_removed_nuclei``: nuclei in the one of which no nucleus is left in the other.
    """
    before, after = (nuclei_instances(map_, minimum_area)[0] for map_ in (multi_class, combined))
    left = np.unique(before[after > 0])
    return {
        "reuse_removed_nuclei": int(before.max(initial=0) - np.count_nonzero(left)),
        "reuse_removed_px": int(np.count_nonzero((multi_class > 0) & (combined == 0))),
    }
