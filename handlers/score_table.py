"""The table of scores that an evaluation prints and saves: one row a score, one column a lesion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pandas as pd
from ignite.engine import Engine, Events

from tinylesions.metrics import PROTOCOLS
from tinylesions.transforms.atomic import atomic_path

__all__ = ["ScoreTable", "integrate_outputs", "score_table"]

_REDUCED = ", reduced size"

ROWS = {
    **{f"average precision ({protocol})": f"average_precision_{protocol}_{{lesion}}" for protocol in PROTOCOLS},
    f"precision at break-even{_REDUCED}": "reduced_precision_{lesion}",
    f"recall at break-even{_REDUCED}": "reduced_recall_{lesion}",
    **{
        f"average precision ({protocol}){_REDUCED}": f"reduced_average_precision_{protocol}_{{lesion}}"
        for protocol in PROTOCOLS
    },
    "sensitivity at 1 false positive a photo": "sensitivity_at_1_{lesion}",
    "free-response score": "free_response_score_{lesion}",
    "Dice at 0.5": "dice",
    "IoU at 0.5": "intersection_over_union",
}
"""Title of each row of an evaluation → name of its metric, see :func:`score_table`."""


def score_table(metrics: Mapping[str, Any], lesions: Sequence[str], rows: Mapping[str, str]) -> pd.DataFrame:
    """Arrange an engine's metrics as a table.

    Args:
        metrics: values by name; the ends of a value's interval have ``_low`` and ``_high`` after its name.
        lesions: names of the columns; `mean` is added, over the lesions that have a value.
        rows: title of each row → name of its metric: a pattern with ``{lesion}`` in it where each lesion has a metric
            of its own, else one that holds a value for each lesion.

    Returns:
        Scores in [0, 1], NaN where a lesion is in no photo; rows without any metric are left out. Where any row has
        intervals, the columns ``<lesion>_low``, ``<lesion>_high``, ``mean_low`` and ``mean_high`` follow, NaN in the
        other rows.
    """
    names = {title: name for title, name in rows.items() if name.format(lesion=lesions[0]) in metrics}
    values = {
        title: [metrics[name.format(lesion=x)] for x in lesions] if "{lesion}" in name else list(metrics[name])
        for title, name in names.items()
    }
    table = pd.DataFrame.from_dict(values, orient="index", columns=list(lesions), dtype=float)
    table.index.name = "score"
    table["mean"] = table.mean(axis=1)
    if not any(f"{name.format(lesion='mean')}_low" in metrics for name in names.values()):
        return table
    ends = {
        f"{column}_{end}": [metrics.get(f"{name.format(lesion=column)}_{end}", math.nan) for name in names.values()]
        for column in (*lesions, "mean")
        for end in ("low", "high")
    }
    return table.assign(**ends)


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
    rows = {f"output {head}": f"average_precision_{{lesion}}_output_{head}" for head in range(1, heads + 1)}
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
    print(_printed(table).to_string())
    with atomic_path(path) as temporary:
        table.to_csv(temporary)
    print(f"saved as {path}")


def _printed(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text, each interval behind its score: ``0.751 [0.70, 0.80]``."""
    columns = [column for column in table if not str(column).endswith(("_low", "_high"))]
    intervals = {
        column: zip(table[f"{column}_low"], table[f"{column}_high"], strict=True)
        if f"{column}_low" in table
        else [(math.nan, math.nan)] * len(table)
        for column in columns
    }
    cells = {
        column: [_cell(value, *ends) for value, ends in zip(table[column], intervals[column], strict=True)]
        for column in columns
    }
    return pd.DataFrame(cells, index=table.index.rename(None))


def _cell(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} [{low:.2f}, {high:.2f}]"


class ScoreTable:
    """Print and save the scores of each lesion when an evaluation ends, each row with its protocol.

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
            table = score_table(engine.state.metrics, self.lesions, ROWS)
            reduced = any(str(title).endswith(_REDUCED) for title in table.index)
            exception = "; where a row says reduced size, at the network's own" if reduced else ""
            print(
                f"\n{engine.state.epoch_length} photos at full size{exception}. Average precision by its protocols,"
                " inside the field of view, with 95 % intervals from resampled photos;\nDice and IoU are the mean of"
                " the photos that hold the lesion"
            )
            _print_and_save(table, self.path)
