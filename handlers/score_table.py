"""The table of scores that an evaluation prints and saves: one row a score, one column a lesion, one for the grade."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pandas as pd
from ignite.engine import Engine, Events

from tinylesions.datasets.atomic import atomic_path
from tinylesions.metrics import GRADING_SCORES, PROTOCOLS

__all__ = ["ScoreTable", "integrate_outputs", "score_cell", "score_table"]

_REDUCED = ", reduced size"

_OVERLAP_ROWS = {
    "Dice (DRAC2022)": "dice_{lesion}",
    "IoU (DRAC2022)": "iou_{lesion}",
    "Dice, empty images counted": "dice_with_empty_{lesion}",
    "empty images with false positives": "false_positive_images_{lesion}",
    "false positive pixels of empty images": "false_positive_pixels_{lesion}",
}

ROWS = {
    **_OVERLAP_ROWS,
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
    "Dice (pooled)": "pooled_dice",
    "IoU (pooled)": "pooled_iou",
    f"Dice (pooled){_REDUCED}": "reduced_pooled_dice",
    f"IoU (pooled){_REDUCED}": "reduced_pooled_iou",
    "accuracy": "accuracy",
    "F1 (macro)": "macro_f1",
    "F1 (weighted)": "weighted_f1",
    "ROC AUC (one-vs-rest)": "roc_auc",
    "ROC AUC (one-vs-rest, hard labels)": "roc_auc_hard",
    "kappa (quadratic)": "quadratic_kappa",
    "ROC AUC (referable)": "referable_roc_auc",
    "sensitivity (referable)": "referable_sensitivity",
    "specificity (referable)": "referable_specificity",
}
"""Title of each row of an evaluation → name of its metric, see :func:`score_table`."""

_GRADE_COLUMNS = ["grade", "grade_low", "grade_high"]

_GRADES = """\
Grades: the predicted grade is the most probable one. One-vs-rest: each grade against all others, the mean of the grades
present, by the probabilities or, with hard labels, by the predicted grade alone. Referable: grade 2 and above, ROC AUC
by P(grade ≥ 2), sensitivity and specificity by the predicted grade. 95 % intervals from resampled photos"""


def score_table(metrics: Mapping[str, Any], lesions: Sequence[str], rows: Mapping[str, str]) -> pd.DataFrame:
    """Arrange an engine's metrics as a table.

    Args:
        metrics: values by name; the ends of a value's interval have ``_low`` and ``_high`` after its name.
        lesions: names of the columns; `mean` is added, over the lesions that have a value.
        rows: title of each row → name of its metric: a pattern with ``{lesion}`` in it where each lesion has a metric
            of its own, a name of `GRADING_SCORES`, else one that holds a value for each lesion.

    Returns:
        Scores, NaN where a lesion is in no photo; rows without any metric are left out. Where any row has intervals,
        the columns ``<lesion>_low``, ``<lesion>_high``, ``mean_low`` and ``mean_high`` follow, NaN in the other rows.
        Where there are scores of grades, ``grade``, ``grade_low`` and ``grade_high`` come last, NaN in the lesions'
        rows as are the lesions' columns in theirs; with nothing but scores of grades, they are the only columns.
    """
    of_lesions = {title: name for title, name in rows.items() if lesions and name not in GRADING_SCORES}
    of_grades = {title: name for title, name in rows.items() if name in GRADING_SCORES and name in metrics}
    tables = [_lesion_table(metrics, lesions, of_lesions), _grade_table(metrics, of_grades)]
    return pd.concat([table for table in tables if len(table)] or tables[:1])


def _lesion_table(metrics: Mapping[str, Any], lesions: Sequence[str], rows: Mapping[str, str]) -> pd.DataFrame:
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


def _grade_table(metrics: Mapping[str, Any], rows: Mapping[str, str]) -> pd.DataFrame:
    ends = zip(_GRADE_COLUMNS, ("", "_low", "_high"), strict=True)
    columns = {column: [float(metrics[name + end]) for name in rows.values()] for column, end in ends}
    return pd.DataFrame(columns, index=pd.Index(list(rows), name="score"))


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
    _save(table, path)


def _save(table: pd.DataFrame, path: str | Path) -> None:
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
        column: [score_cell(value, *ends) for value, ends in zip(table[column], intervals[column], strict=True)]
        for column in columns
    }
    return pd.DataFrame(cells, index=table.index.rename(None))


def score_cell(value: float, low: float, high: float) -> str:
    """A score and its interval as text, ``0.751 [0.70, 0.80]``; a dash for NaN, no interval where `low` is NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} [{low:.2f}, {high:.2f}]"


class ScoreTable:
    """Print and save the scores of each lesion and of the grades when an evaluation ends, each row with its protocol.

    Args:
        lesions: the lesions; none where only grades are scored.
        output_dir: folder of ``scores.csv``.
    """

    def __init__(self, lesions: Sequence[str], output_dir: str | Path) -> None:
        self.lesions = list(lesions)
        self.path = Path(output_dir) / "scores.csv"
        self._with_masks = 0

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count)
        engine.add_event_handler(Events.COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        self._with_masks = 0

    def _count(self, engine: Engine) -> None:
        self._with_masks += _photos_with_masks(engine.state.batch)

    def __call__(self, engine: Engine) -> None:
        """Print and save."""
        with_masks = int(idist.all_reduce(self._with_masks))
        if idist.get_rank() != 0:
            return
        table = score_table(engine.state.metrics, self.lesions, ROWS)
        of_grades = [ROWS[title] in GRADING_SCORES for title in table.index]
        empty = _empty_images(engine.state.metrics, self.lesions)
        lesions = table.loc[[not of_grade for of_grade in of_grades]].drop(columns=_GRADE_COLUMNS, errors="ignore")
        if not any(of_grades):
            print("\n" + _heading(lesions, f"{with_masks} {'photos' if empty is None else 'images'}", empty))
            _print_and_save(table, self.path)
            return
        confusion = pd.DataFrame(engine.state.confusion_matrix)  # type: ignore[attr-defined]
        graded = int(confusion.to_numpy().sum())
        if len(lesions):
            counts = f"{graded} photos with a true grade, {with_masks} with masks,"
            print("\n" + _heading(lesions, f"{graded} photos," if graded == with_masks else counts, empty))
            print(_printed(lesions).to_string())
        else:
            print(f"\n{graded} photos with a true grade")
        print(f"\n{_GRADES}")
        print(_printed(table.loc[of_grades, _GRADE_COLUMNS]).to_string())
        print("\nPhotos of each true grade, the row, and predicted grade, the column")
        print(confusion.to_string())
        _save(table, self.path)


def _photos_with_masks(batch: Any) -> int:
    """Photos of an iteration whose masks are true; only items of several tasks have a weight that says so."""
    if isinstance(batch, Mapping):  # not taken apart by photo
        weights = batch.get("label_weight", [1] * len(batch["image"]))
    else:
        weights = [photo.get("label_weight", 1) for photo in batch]
    return sum(float(weight) == 1 for weight in weights)


def _empty_images(metrics: Mapping[str, Any], lesions: Sequence[str]) -> str | None:
    """How many images do not hold each lesion; None where their overlap was not measured."""
    counts = {lesion: metrics.get(f"empty_images_{lesion}") for lesion in lesions}
    present = [f"{lesion} {count}" for lesion, count in counts.items() if count is not None]
    return ", ".join(present) or None


def _heading(table: pd.DataFrame, counts: str, empty: str | None) -> str:
    titles = [str(title) for title in table.index]
    reduced = any(title.endswith(_REDUCED) for title in titles)
    exception = "; where a row says reduced size, at the network's own" if reduced else ""
    pooled = "; pooled: of the pixels of all photos together" if any("(pooled)" in title for title in titles) else ""
    if empty is not None:
        precise = any(title.startswith("average precision") for title in titles)
        area = " Average precision by its protocols, inside the field of view where there is one." if precise else ""
        return (
            f"{counts} at full size{exception}.{area}\nDice and IoU are the mean of the images that hold the lesion, as"
            f" in DRAC2022{pooled}.\nEmpty images, which do not: {empty}.\nWhere they are counted, each scores 1 if"
            " nothing is predicted there, else 0; false positives are shares of the empty images\nand of their pixels."
            " 95 % intervals from resampled images"
        )
    return (
        f"{counts} at full size{exception}. Average precision by its protocols,"
        " inside the field of view, with 95 % intervals from resampled photos;\nDice and IoU are the mean of"
        f" the photos that hold the lesion{pooled}"
    )
