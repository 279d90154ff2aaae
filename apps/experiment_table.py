"""A paper's table with what was measured beside what is published: read from the runs' scores, printed and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tinylesions.datasets import LAYOUTS
from tinylesions.datasets.atomic import atomic_path
from tinylesions.datasets.lesions import OCTA_LESION_CODES

__all__ = ["columns_of", "printed_table", "save_log_as_scores", "scores_path", "side_by_side", "write_table"]

_DEFAULT_SCORE = "average precision (exact)"
_INTEGRATION = "output integration"


def columns_of(experiment: Mapping[str, Any]) -> list[str]:
    """The published columns: a lesion, or, where the table has several scores, a lesion and a score's label.

    Example:
        >>> columns_of({"rows": [{"published": {"mean precision": 0.5}}, {"published": {}}]})
        ['mean precision']
    """
    return list(dict.fromkeys(column for row in experiment["rows"] for column in row["published"]))


def scores_path(folder: Path, row: Mapping[str, Any]) -> Path:
    """Where the evaluation of a row writes its scores; a row that is in no table makes pictures only."""
    return folder / ("outputs.csv" if row.get("integrates") else "scores.csv")


def save_log_as_scores(log: Path, path: Path) -> None:
    """Write what a training logged as an evaluation's scores.

    Args:
        log: a CSV with a column ``score``, which is copied; or one with a line for each epoch, of which the last is
            taken: its column ``<class>_<score>`` is the row ``<score>`` and the column ``<class>``.
        path: the CSV to write.
    """
    scores = pd.read_csv(log)
    if "score" in scores:
        scores = scores.set_index("score")
    else:
        columns = [str(name) for name in scores if "_" in str(name)]
        last = {tuple(name.rsplit("_", 1)): scores[name].iloc[-1] for name in columns}
        scores = pd.Series(last).unstack(level=0).rename_axis("score")
    with atomic_path(path) as temporary:
        scores.to_csv(temporary)


def side_by_side(experiment: Mapping[str, Any], folders: Mapping[str, Sequence[Path]]) -> pd.DataFrame:
    """Read what was measured and put it beside what is published.

    Args:
        experiment: what the table's file holds; the rows have their own ``scores``: label of a column → score, the
            label empty for a column that is only a lesion.
        folders: the evaluation's folder of each row for each seed; a folder without scores has not been run.

    Returns:
        A line for each row that publishes anything: ``<column> measured`` and ``<column> published`` of each column.
        With several seeds `measured` is the mean, ``<column> std``, the sample standard deviation, follows it, and
        ``seeds`` is the number of seeds that have been run. ``<column> published std`` follows `published` in a table
        that prints deviations. NaN where there is no figure.

    Raises:
        ValueError: an evaluation has no such score.
    """
    several = any(len(paths) > 1 for paths in folders.values())
    deviations = any("published_std" in row for row in experiment["rows"])
    lines: dict[str, dict[str, float]] = {}
    for row in experiment["rows"]:
        if not row["published"]:
            continue
        done = [path for folder in folders[row["name"]] if (path := scores_path(folder, row)).is_file()]
        tables = {path: pd.read_csv(path, index_col="score") for path in done}
        line: dict[str, Any] = {"seeds": len(done)} if several else {}
        for column in columns_of(experiment):
            measured = pd.Series([_score(path, tables[path], row, column) for path in done], dtype=float)
            line[f"{column} measured"] = measured.mean()
            if several:
                line[f"{column} std"] = measured.std()
            line[f"{column} published"] = row["published"].get(column)
            if deviations:
                line[f"{column} published std"] = row.get("published_std", {}).get(column)
        lines[row["name"]] = line
    frame = pd.DataFrame.from_dict(lines, orient="index", dtype=float).rename_axis("row")
    return frame.astype({"seeds": int}) if several and len(frame) else frame


def _score(path: Path, scores: pd.DataFrame, row: Mapping[str, Any], column: str) -> float:
    lesion, _, label = column.partition(" ")
    name = row["scores"][label] if "scores" in row else _DEFAULT_SCORE
    if row.get("integrates"):
        name = _INTEGRATION
    if name not in scores.index or lesion not in scores.columns:
        raise ValueError(f"{path} has no score {name!r} of {lesion!r}, for which the table asks.")
    return scores[lesion].astype(float)[name]


def printed_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The table in a terminal's width: "measured (published)" of each column, lesions of OCTA images by their codes."""
    cells = {
        _short(column): [
            f"{_cell(line, column, 'measured', digits=3)} ({_cell(line, column, 'published', digits=3)})"
            for _, line in frame.iterrows()
        ]
        for column in _columns(frame)
    }
    return pd.DataFrame(cells, index=frame.index)


def write_table(
    frame: pd.DataFrame, experiment: Mapping[str, Any], path: Path, data: str, seeds: int, drawn: bool
) -> None:
    """Write ``<path>.csv`` and ``<path>.md``.

    Args:
        frame: see :func:`side_by_side`.
        experiment: what the table's file holds.
        path: the files' path without a suffix.
        data: words for the data set and the preset.
        seeds: how many were asked for.
        drawn: whether the photos are phantoms.
    """
    with atomic_path(path.with_name(f"{path.name}.csv")) as temporary:
        frame.to_csv(temporary)
    # with a deviation beside them, three digits are more than enough
    digits = 4 if seeds == 1 else 3
    kinds = ("measured", "published")
    counts = ["seeds"] if "seeds" in frame else []
    head = ["row", *counts, *(f"{column} {kind}" for column in _columns(frame) for kind in kinds)]
    lines = [
        [str(name), *(str(int(line[count])) for count in counts)]
        + [
            cell
            for column in _columns(frame)
            for cell in (_cell(line, column, "measured", digits), _cell(line, column, "published", digits=4))
        ]
        for name, line in frame.iterrows()
    ]
    over = "" if seeds == 1 else f", mean ± sample standard deviation over {seeds} seeds"
    unprinted = frame[[f"{column} published" for column in _columns(frame)]].isna().to_numpy().any()
    dash = "a row that has not been run" + (" or a figure that the paper does not give" if unprinted else "")
    shown = "tissue" if LAYOUTS[experiment["dataset"]].classes else "eyes"
    text = [
        f"# {experiment['title']}",
        "",
        f"{experiment['paper']}. {experiment['metric']}, protocol: {experiment['protocol']}.",
        f"Measured on {data}{over}; a dash is {dash}.",
        *([f"The photos are phantoms (drawings): the measured figures say nothing about {shown}."] if drawn else []),
        "",
        *(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)),
        "",
        *([experiment["note"], ""] if "note" in experiment else []),
    ]
    with atomic_path(path.with_name(f"{path.name}.md")) as temporary:
        temporary.write_text("\n".join(text), encoding="utf-8")


def _short(column: str) -> str:
    lesion, space, label = column.partition(" ")
    return f"{OCTA_LESION_CODES.get(lesion, lesion)}{space}{label}"


def _columns(frame: pd.DataFrame) -> list[str]:
    return [str(name).removesuffix(" measured") for name in frame if str(name).endswith(" measured")]


def _cell(line: pd.Series, column: str, kind: str, digits: int) -> str:
    """A figure and its deviation, if it has one."""
    value = line[f"{column} {kind}"]
    deviation = line.get(f"{column} {'std' if kind == 'measured' else 'published std'}")
    digits = digits if abs(value) < 1000 else 0  # a count
    spread = "" if deviation is None or pd.isna(deviation) else f" ± {deviation:.{digits}f}"
    return f"{'–' if pd.isna(value) else f'{value:.{digits}f}'}{spread}"
