"""The table of scores that an evaluation prints and saves: one row a score, one column a lesion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pandas as pd
from ignite.engine import Engine, Events

from tinylesions.transforms.atomic import atomic_path

__all__ = ["ScoreTable", "integrate_outputs", "score_table"]

_AVERAGE_PRECISION = "average_precision_{lesion}"


def score_table(metrics: Mapping[str, Any], lesions: Sequence[str], rows: Mapping[str, str]) -> pd.DataFrame:
    """Arrange an engine's metrics as a table.

    Args:
        metrics: values by name.
        lesions: names of the columns; `mean` is added, over the lesions that have a value.
        rows: title of each row → name of its metric: a pattern with ``{lesion}`` in it where each lesion has a metric
            of its own, else one that holds a value for each lesion.

    Returns:
        Scores in [0, 1], NaN where a lesion is in no photo; rows without any metric are left out.
    """
    values = {
        title: [metrics[name.format(lesion=x)] for x in lesions] if "{lesion}" in name else list(metrics[name])
        for title, name in rows.items()
        if name.format(lesion=lesions[0]) in metrics
    }
    table = pd.DataFrame.from_dict(values, orient="index", columns=list(lesions), dtype=float)
    table.index.name = "score"
    table["mean"] = table.mean(axis=1)
    return table


def integrate_outputs(
    choosing: Mapping[str, Any], metrics: Mapping[str, Any], lesions: Sequence[str], heads: int, path: str | Path
) -> pd.DataFrame:
    """Score every output of a UNet++ and their integration: for each lesion the output that chose best.

    The output of a lesion is chosen on the photos of `choosing`, the validation split, never on those it is scored
    on (multi-task UNet++ paper, tables 4 and 5, whose text seems to choose on the test set).

    Args:
        choosing: metrics of the photos to choose on.
        metrics: metrics of the photos to score.
        lesions: the lesions.
        heads: number of outputs.
        path: CSV file to write.

    Returns:
        Average precision (protocol ``exact``): rows output 1 …, output integration. The choice is printed.
    """
    rows = {f"output {head}": f"{_AVERAGE_PRECISION}_output_{head}" for head in range(1, heads + 1)}
    table = score_table(metrics, lesions, rows)
    scores = score_table(choosing, lesions, rows)[list(lesions)]
    # a lesion that no photo to choose on holds gets the deepest output
    scores.loc[f"output {heads}"] = scores.loc[f"output {heads}"].fillna(0)
    chosen = scores.fillna(-math.inf).idxmax()
    table.loc["output integration"] = {lesion: table.loc[chosen[lesion], lesion] for lesion in lesions}
    table.loc["output integration", "mean"] = table.loc["output integration", list(lesions)].mean()
    print("average precision of each output, protocol exact; integration takes, for each lesion,", chosen.to_dict())
    _print_and_save(table, path)
    return table


def _print_and_save(table: pd.DataFrame, path: str | Path) -> None:
    print(table.round(4).to_string())
    with atomic_path(path) as temporary:
        table.to_csv(temporary)
    print(f"saved as {path}")


class ScoreTable:
    """Print and save average precision, Dice and IoU of each lesion when an evaluation ends.

    Args:
        lesions: the lesions.
        output_dir: folder of ``scores.csv``.
    """

    def __init__(self, lesions: Sequence[str], output_dir: str | Path) -> None:
        self.lesions = list(lesions)
        self.path = Path(output_dir) / "scores.csv"

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Print and save."""
        if idist.get_rank() == 0:
            rows = {
                "average precision (exact)": _AVERAGE_PRECISION,
                "Dice at 0.5": "dice",
                "IoU at 0.5": "intersection_over_union",
            }
            print(
                f"\n{engine.state.epoch_length} photos at full size; average precision of all their pixels inside the"
                " field of view, Dice and IoU the mean of the photos that hold the lesion"
            )
            _print_and_save(score_table(engine.state.metrics, self.lesions, rows), self.path)
