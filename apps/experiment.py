"""A table of a paper as runs: the work behind `tinylesions experiment`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape

from tinylesions.apps.phantoms import PHANTOM_NOTE
from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import InputError, read_layout
from tinylesions.monai_bundles import Bundle
from tinylesions.transforms import atomic_path

__all__ = ["run_experiment"]


def run_experiment(
    bundle: Bundle,
    table: str,
    dataset_dir: Path,
    output_dir: Path,
    presets: Sequence[str] = (),
    rows: Sequence[str] | None = None,
    layout: str | None = None,
    console: Console | None = None,
) -> pd.DataFrame:
    """Train and evaluate the rows of a table, and write measured and published figures side by side.

    Each row has its folder: the weights, the scores and the resolved configs. What is there is not done again, and
    an interrupted training goes on. Rows of one training share its weights.

    Args:
        bundle: the bundle.
        table: name of the file in its ``experiments``.
        dataset_dir: the data set.
        output_dir: folder of the rows and of ``<table>.csv`` and ``<table>.md``.
        presets: configs that override train.json.
        rows: names of rows; all by default.
        layout: the data set's layout, where it is not the table's own.
        console: where to print.

    Returns:
        A row for each name: measured and published average precision of each lesion and the mean.

    Raises:
        InputError: no such table or row, or no such data set.
    """
    console = console or Console()
    experiment = _read(bundle, table)
    by_name = {row["name"]: row for row in experiment["rows"]}
    unknown = set(rows or ()) - by_name.keys()
    if unknown:
        raise InputError(f"{table} has no row {min(unknown)!r}: choose one of {', '.join(by_name)}.")
    common = {**experiment.get("overrides", {}), "dataset_dir": dataset_dir.absolute()}
    if layout is not None:
        common["layout"] = layout
    read_layout(common["layout"], dataset_dir)  # before anything is written
    _claim(output_dir, {"bundle": bundle.name, "table": table, "presets": list(presets), **_as_text(common)})
    console.print(f"[b]{escape(experiment['title'])}[/b] ({escape(experiment['paper'])})")
    for name in rows or by_name:
        row = by_name[name]
        source = by_name[row.get("weights_of", name)]
        weights = _train(bundle, source, output_dir, presets, common, console)
        _evaluate(bundle, row, weights, output_dir, presets, common, console)
    frame = _side_by_side(experiment["rows"], output_dir)
    _write(frame, experiment, table, presets, dataset_dir, output_dir)
    console.print(_printed(frame).to_string(), markup=False)
    console.print(f"saved as {output_dir / table}.csv and .md", markup=False)
    return frame


def _as_text(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _claim(output_dir: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings in the output folder, so that rows of other settings are never mixed with what is there."""
    path = output_dir / "experiment.json"
    if path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        differing = sorted(key for key in settings if earlier.get(key) != settings[key])
        if differing:
            raise InputError(
                f"{output_dir} holds rows with another {' and '.join(differing)}: name another folder with --out."
            )
        return
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _printed(frame: pd.DataFrame) -> pd.DataFrame:
    """The table in a terminal's width: "measured (published)" of each lesion."""
    columns = list(dict.fromkeys(column.rsplit(" ", 1)[0] for column in frame.columns))
    cells = {
        column: [
            f"{'–' if pd.isna(measured) else f'{measured:.3f}'} ({published:.3f})"
            for measured, published in zip(frame[f"{column} measured"], frame[f"{column} published"], strict=True)
        ]
        for column in columns
    }
    return pd.DataFrame(cells, index=frame.index)


def _read(bundle: Bundle, table: str) -> dict[str, Any]:
    path = bundle.root / "experiments" / f"{table}.json"
    if table not in bundle.experiments:
        raise InputError(f"{bundle.name} has no table {table!r}: choose one of {', '.join(bundle.experiments)}.")
    return json.loads(path.read_text(encoding="utf-8"))


def _folder(output_dir: Path, row: Mapping[str, Any]) -> Path:
    return output_dir / "".join(c if c.isalnum() else "_" for c in row["name"].lower())


def _train(
    bundle: Bundle,
    row: Mapping[str, Any],
    output_dir: Path,
    presets: Sequence[str],
    common: Mapping[str, Any],
    console: Console,
) -> Path:
    folder = _folder(output_dir, row)
    finished = folder / "trained"
    if not finished.is_file():
        console.print(f"training: {escape(row['name'])}")
        overrides = {**common, **row["train"], "ckpt_dir": folder, "output_dir": folder}
        workflow = build_workflow(bundle, ["train", *presets], overrides, "train")
        run_workflow(workflow, folder / "train_config.json")
        finished.touch()
    return folder / "model.pt"


def _evaluate(
    bundle: Bundle,
    row: Mapping[str, Any],
    weights: Path,
    output_dir: Path,
    presets: Sequence[str],
    common: Mapping[str, Any],
    console: Console,
) -> None:
    folder = _folder(output_dir, row)
    if _scores_file(row, output_dir).is_file():
        return
    console.print(f"evaluating: {escape(row['name'])}")
    configs = ["train", *presets, "evaluate", *(["evaluate_outputs"] if row.get("integrates") else [])]
    overrides = {**common, **row["evaluate"], "ckpt_path": weights, "output_dir": folder}
    run_workflow(build_workflow(bundle, configs, overrides, "train"), folder / "evaluate_config.json")


def _scores_file(row: Mapping[str, Any], output_dir: Path) -> Path:
    return _folder(output_dir, row) / ("outputs.csv" if row.get("integrates") else "scores.csv")


def _side_by_side(rows: Sequence[Mapping[str, Any]], output_dir: Path) -> pd.DataFrame:
    lines = {}
    for row in rows:
        path = _scores_file(row, output_dir)
        if path.is_file():
            scores = pd.read_csv(path, index_col="score")
            measured = scores.loc["output integration" if row.get("integrates") else "average precision (exact)"]
        else:
            measured = pd.Series(dtype=float)
        lines[row["name"]] = {
            f"{lesion} {kind}": value
            for lesion, published in row["published"].items()
            for kind, value in (("measured", measured.get(lesion)), ("published", published))
        }
    return pd.DataFrame.from_dict(lines, orient="index", dtype=float).rename_axis("row")


def _write(
    frame: pd.DataFrame,
    experiment: Mapping[str, Any],
    table: str,
    presets: Sequence[str],
    dataset_dir: Path,
    output_dir: Path,
) -> None:
    with atomic_path(output_dir / f"{table}.csv") as temporary:
        frame.to_csv(temporary)
    head = ["row", *frame.columns]
    cells = [[str(name), *("–" if pd.isna(v) else f"{v:.4f}" for v in line)] for name, *line in frame.itertuples()]
    drawn = (dataset_dir / PHANTOM_NOTE).is_file()
    preset = f", preset {', '.join(presets)}" if presets else ""
    text = [
        f"# {experiment['title']}",
        "",
        f"{experiment['paper']}. {experiment['metric']}, protocol: {experiment['protocol']}.",
        f"Measured on {dataset_dir}{preset}; a dash is a row that has not been run.",
        *(["The photos are phantoms (drawings): the measured figures say nothing about eyes."] if drawn else []),
        "",
        *(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *cells)),
        "",
        *([experiment["note"], ""] if "note" in experiment else []),
    ]
    with atomic_path(output_dir / f"{table}.md") as temporary:
        temporary.write_text("\n".join(text), encoding="utf-8")
