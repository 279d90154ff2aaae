"""The table of scores of the multi-class, the binary and the combined result, a row a score and result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pandas as pd
from ignite.engine import Engine, Events

from tinylesions.datasets import RESULTS
from tinylesions.datasets.atomic import atomic_path
from tinylesions.handlers.class_scores import drawn_scores
from tinylesions.handlers.score_differences import DIFFERENCE, difference_cell, difference_metrics
from tinylesions.handlers.score_table import score_cell

__all__ = ["CLASS_ROWS", "DIFFERENCE_ROWS", "ClassScoreTable", "class_score_table"]

_SCORES = {"Dice": "dice", "IoU": "iou", "precision": "precision", "recall": "recall", "PQ": "pq"}

CLASS_ROWS = {
    f"{title}, {result}": f"{result}_{score}_{{column}}" for result in RESULTS for title, score in _SCORES.items()
}
"""Title of each row → pattern of its metrics' names."""

DIFFERENCE_ROWS = {
    f"{title}, {' - '.join(DIFFERENCE)}": f"difference_{score}_{{column}}" for title, score in _SCORES.items()
}
"""Title of each row of ``differences.csv`` → pattern of its values' names."""

_DEFINITIONS = """\
Dice, IoU, precision and recall are pooled: of the pixels of all images together. Their mean is over all classes that
the truth holds, with the background, as the mIoU of the class imbalance paper; foreground, any class against the
background, is not in it. A class that is true but never predicted has precision 0. One that is predicted but never
true has scores of 0 and is in no mean, one that is neither has none (–).
PQ: each class's nuclei of all images together, IoU above 0.5, the mean over the classes of nuclei (mPQ+); foreground:
whatever their class, the mean of the images that hold any nucleus (bPQ).
{intervals}The paper's printed scores are not of one definition: these need not compare with them."""

_INTERVALS = """\
95 % intervals from resampled {units}; none for a class that fewer than two {units} hold, nor for a mean with it.
"""

_DIFFERENCES = f"""\
{" - ".join(DIFFERENCE)}, in hundredths: what the reused background changes on the same tiles, with the 95 % interval
of the difference, over the same resampled sources for both. An interval that holds 0 shows no difference."""


def class_score_table(
    metrics: Mapping[str, Any], class_names: Sequence[str], rows: Mapping[str, str] = CLASS_ROWS
) -> pd.DataFrame:
    """Arrange an engine's metrics as a table.

    Args:
        metrics: values by name; the ends of an interval have ``_low`` and ``_high`` after its name.
        class_names: the classes, the background first.
        rows: title of each row → pattern of its metrics' names.

    Returns:
        Scores: the rows that have a metric, with the columns of the classes, ``mean`` and
        ``foreground``, and where any metric has an interval ``<column>_low`` and ``<column>_high`` of each; NaN where
        there is no value.
    """
    columns = _columns(class_names)
    names = {title: pattern for title, pattern in rows.items() if pattern.format(column="foreground") in metrics}
    with_intervals = any(f"{pattern.format(column='foreground')}_low" in metrics for pattern in names.values())
    ends = ("_low", "_high") if with_intervals else ()
    cells = [(column, "") for column in columns] + [(column, end) for column in columns for end in ends]
    values = {
        title: [float(metrics.get(pattern.format(column=column) + end, math.nan)) for column, end in cells]
        for title, pattern in names.items()
    }
    table = pd.DataFrame.from_dict(values, orient="index", columns=[column + end for column, end in cells], dtype=float)
    table.index.name = "score"
    return table


class ClassScoreTable:
    """Print and save the scores of each class and result when an evaluation ends, with their definitions.

    Below them, and in a file of their own since they can be negative, are the differences of the combined and the
    multi-class result with their intervals, where both were scored with the sources of the images.

    The scores are those that :class:`ClassScores` and :class:`NucleiQuality` with the prefixes ``multi_class_``,
    ``binary_`` and ``combined_`` put into the engine's metrics; results that are not scored have no rows.

    Args:
        class_names: the classes, the background first.
        output_dir: folder of ``scores.csv`` and ``differences.csv``.
    """

    def __init__(self, class_names: Sequence[str], output_dir: str | Path) -> None:
        self.class_names = list(class_names)
        self.path = Path(output_dir) / "scores.csv"

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Print and save."""
        if idist.get_rank() != 0:
            return
        metrics = engine.state.metrics
        table = class_score_table(metrics, self.class_names)
        print(f"\n{_heading(metrics, table)}")
        for result in RESULTS:
            of_result = table.loc[[str(title).endswith(f", {result}") for title in table.index]]
            if len(of_result):
                columns = ["background", "mean", "foreground"] if result == "binary" else _columns(self.class_names)
                print(f"\n{result}\n{_printed(of_result, columns).to_string()}")
        _save(table, self.path)
        values = difference_metrics(drawn_scores(engine), list(_SCORES.values()))
        differences = class_score_table(values, self.class_names, DIFFERENCE_ROWS)
        path = self.path.with_name("differences.csv")
        if differences.empty:
            path.unlink(missing_ok=True)  # of an earlier evaluation, which had both results
            return
        print(f"\n{_DIFFERENCES}")
        print(f"\n{_printed(differences, _columns(self.class_names), difference_cell).to_string()}")
        _save(differences, path)


def _save(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, lineterminator="\n", encoding="utf-8")
    print(f"\nsaved as {path}")


def _heading(metrics: Mapping[str, Any], table: pd.DataFrame) -> str:
    images, sources = (
        next((metrics[f"{result}_{what}"] for result in RESULTS if f"{result}_{what}" in metrics), None)
        for what in ("images", "sources")
    )
    units = "images" if sources is None else "sources"
    intervals = _INTERVALS.format(units=units) if table.filter(like="_low").notna().to_numpy().any() else ""
    counts = _counted(images, "image") + ("" if sources is None else f" of {_counted(sources, 'source')}")
    return f"{counts} at full size.\n{_DEFINITIONS.format(intervals=intervals)}"


def _counted(number: int | None, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _columns(class_names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*class_names, "mean", "foreground"]))


def _printed(
    table: pd.DataFrame, columns: list[str], cell: Callable[[float, float, float], str] = score_cell
) -> pd.DataFrame:
    """One result's scores as text, a row a class, since a column a class would be too wide for a terminal."""
    cells = {
        str(title).split(",")[0]: [
            cell(row[column], row.get(f"{column}_low", math.nan), row.get(f"{column}_high", math.nan))
            for column in columns
        ]
        for title, row in table.iterrows()
    }
    return pd.DataFrame(cells, index=columns)
