"""The class weights of every scheme for a data set, as a table to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from tinylesions.datasets.atomic import atomic_path

__all__ = ["write_class_weights"]


def write_class_weights(
    class_names: Sequence[str],
    frequencies: Sequence[float],
    weights: Mapping[int, Sequence[float]],
    path: str | Path,
) -> pd.DataFrame:
    """Print and save how frequent each class is and what it would weigh.

    Args:
        class_names: the K classes.
        frequencies: of the K classes, shares of the pixels.
        weights: number of a scheme → K weights.
        path: CSV to write.

    Returns:
        Rows ``frequency``, ``scheme 1`` …, columns the classes; class imbalance paper (004), table 4.11.
    """
    rows = {"frequency": frequencies, **{f"scheme {scheme}": values for scheme, values in weights.items()}}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(class_names)).rename_axis("score")
    print(table.rename_axis(None).to_string(float_format="{:.4f}".format))
    with atomic_path(path) as temporary:
        table.to_csv(temporary)
    print(f"saved as {path}")
    return table
