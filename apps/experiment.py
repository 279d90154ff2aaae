"""A table of a paper as runs: the work behind `tinylesions experiment`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape

from tinylesions.apps.experiment_data import check_layout, drawn, elsewhere, read_photos
from tinylesions.apps.experiment_overrides import check_overrides, evaluation_configs, in_words, lay_over
from tinylesions.apps.experiment_table import (
    columns_of,
    printed_table,
    save_log_as_scores,
    scores_path,
    side_by_side,
    write_table,
)
from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import InputError, read_layout, select
from tinylesions.datasets.atomic import atomic_path
from tinylesions.monai_bundles import Bundle

__all__ = ["run_experiment"]

_TRAINED = "trained"

_OVERRIDES = "--set"

_SHARED = ("run", "log", "scores")
"""Keys of a table for all of its rows, where a row has none of its own."""


def run_experiment(
    bundle: Bundle,
    table: str,
    dataset_dir: Path,
    output_dir: Path,
    presets: Sequence[str] = (),
    rows: Sequence[str] | None = None,
    layout: str | None = None,
    console: Console | None = None,
    seeds: int = 1,
    pretrained: str | None = None,
    evaluation_dir: Path | None = None,
    evaluation_layout: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Train and evaluate the rows of a table, and write measured and published figures side by side.

    Each row has its folder: the weights, the scores and the resolved configs; with several seeds, one below it for
    each. What is there is not done again, and an interrupted training goes on. Rows of one training share its weights.
    Rows without published figures make pictures, and are in no table. The figures of a row with a ``log`` are in that
    file, which its training leaves, and nothing is evaluated. A row that cannot be trained without `pretrained` is
    left out of all rows, with a sentence, where that is not given.

    Args:
        bundle: the bundle.
        table: name of the file in its ``experiments``.
        dataset_dir: the data set, a folder or the file of a JSON datalist.
        output_dir: folder of the rows and of ``<table>.csv`` and ``<table>.md``.
        presets: configs that override train.json.
        rows: names of rows; all by default.
        layout: the data set's layout, where it is not the table's own.
        console: where to print.
        seeds: every row is trained and evaluated with the seeds 0 to ``seeds - 1``.
        pretrained: weights that every row's encoder starts from, but for rows that have none: ``"imagenet"`` or a path.
        evaluation_dir: the data set whose test photos are scored, for a table that names an ``evaluation_dataset``.
        evaluation_layout: its layout, where it is not the table's own.
        overrides: config ids and their values in every training and evaluation, e.g. ``{"max_epochs": 5}``; they come
            before the table's own.

    Returns:
        See :func:`~tinylesions.apps.experiment_table.side_by_side`; empty where no row publishes anything.

    Raises:
        InputError: no such table or row, no such data set or one of another kind, an evaluation's data set or
            pretrained weights that the table has no use for, a row was named that cannot be trained without the
            latter, or overrides of ids that no config has or that distinguish the rows.
        ValueError: `seeds` is below 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds is at least 1, not {seeds}.")
    console = console or Console()
    experiment = _read(bundle, table)
    by_name = {row["name"]: row for row in experiment["rows"]}
    unknown = set(rows or ()) - by_name.keys()
    if unknown:
        raise InputError(f"{table} has no row {min(unknown)!r}: choose one of {', '.join(by_name)}.")
    common = {**experiment.get("overrides", {}), "dataset_dir": dataset_dir.absolute()}
    if layout is not None:
        common["layout"] = layout
    if pretrained is not None:
        common["pretrained"] = pretrained if pretrained == "imagenet" else Path(pretrained).absolute()
    # all that is refused is refused before anything is written
    overrides = overrides or {}
    check_layout(table, experiment, common["layout"])
    check_overrides(bundle, table, experiment, presets, overrides)
    photos = read_photos(bundle, table, experiment, presets, common, overrides)
    scored = elsewhere(table, experiment, evaluation_dir, evaluation_layout)
    if scored:
        photos += select(read_layout(scored["layout"], scored["dataset_dir"]), "test")
    runs = _Runs(bundle, output_dir, presets, common, scored, overrides, seeds, console)
    names = rows or list(by_name)
    untrained = [by_name[name] for name in names if not runs.is_trained(by_name[name])]
    _check_pretrained(table, experiment["rows"], pretrained)
    left_out = {} if pretrained else _without_pretrained(untrained)
    if rows and left_out:
        name, why = next(iter(left_out.items()))
        raise InputError(f"{name} {why}")
    _claim(
        output_dir,
        {
            "bundle": bundle.name,
            "table": table,
            "presets": list(presets),
            **_as_text(common),
            **_as_text({f"evaluation_{key}": value for key, value in scored.items()}),
            _OVERRIDES: {id: repr(value) for id, value in overrides.items()},
        },
        # no row of before used them
        later=["pretrained"] if _needed(experiment["rows"]) else [],
    )
    console.print(f"[b]{escape(experiment['title'])}[/b] ({escape(experiment['paper'])})")
    console.print(f"{experiment['metric']}, protocol: {experiment['protocol']}", markup=False)

    for name, why in left_out.items():
        console.print(f"{name} is left out: it {why}", markup=False)
    for seed in range(seeds):  # outermost, so that the table is soon complete
        for name in names:
            if name in left_out:
                continue
            row = by_name[name]
            runs.evaluate(row, seed, trained=runs.train(by_name[row.get("weights_of", name)], seed))
    for name in names:
        if not by_name[name]["published"]:
            for seed in range(seeds):
                console.print(f"pictures of {name}: {runs.folder(by_name[name], seed)}", markup=False)
    folders = {name: [runs.folder(row, seed) for seed in range(seeds)] for name, row in by_name.items()}
    frame = side_by_side(experiment, folders)
    if columns_of(experiment):
        data = f"{evaluation_dir}, trained on {dataset_dir}" if scored else str(dataset_dir)
        data += (f", preset {', '.join(presets)}" if presets else "") + in_words(overrides)
        write_table(frame, experiment, output_dir / table, data, seeds, drawn(photos))
        if seeds > 1:
            console.print(f"mean ± sample standard deviation over {seeds} seeds (published)")
        console.print(printed_table(frame).to_string(), markup=False)
        console.print(f"saved as {output_dir / table}.csv and .md", markup=False)
    return frame


@dataclass(frozen=True)
class _Runs:
    """The trainings and evaluations of a table's rows."""

    bundle: Bundle
    output_dir: Path
    presets: Sequence[str]
    common: Mapping[str, Any]
    elsewhere: Mapping[str, Any]
    """The data set to evaluate on, where it is another."""
    overrides: Mapping[str, Any]
    """The user's."""
    seeds: int
    console: Console

    def folder(self, row: Mapping[str, Any], seed: int) -> Path:
        """A row's folder for a seed: below the row's own where there are several, or have been."""
        folder = self.output_dir / "".join(c if c.isalnum() else "_" for c in row["name"].lower())
        of_seed = folder / f"seed_{seed}"
        # what a run with a single seed began is seed 0 of a run with several, and the other way round
        single = any(path.is_file() for path in folder.glob("*")) or (self.seeds == 1 and not of_seed.is_dir())
        return folder if seed == 0 and single else of_seed

    def is_trained(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has been trained with every seed."""
        return all((self.folder(row, seed) / _TRAINED).is_file() for seed in range(self.seeds))

    def train(self, row: Mapping[str, Any], seed: int) -> Path:
        """Train a row, unless that is done, and return its folder."""
        folder = self.folder(row, seed)
        finished = folder / _TRAINED
        if not finished.is_file():
            self._say("running" if "log" in row else "training", row, seed)
            configs = ["train", *self.presets]
            overrides = lay_over(self.bundle, configs, {**self.common, **row["train"]}, self.overrides)
            overrides |= {"seed": seed, "ckpt_dir": folder, "output_dir": folder}
            workflow = build_workflow(self.bundle, configs, overrides, "train", row.get("run", "run"))
            run_workflow(workflow, folder / "train_config.json")
            finished.touch()
        return folder

    def evaluate(self, row: Mapping[str, Any], seed: int, trained: Path) -> None:
        """Evaluate a row with the weights of a training's folder, or read its log, unless that is done."""
        folder = self.folder(row, seed)
        pictured = folder / "pictured"
        if (scores_path(folder, row) if row["published"] else pictured).is_file():
            return
        if "log" in row:
            save_log_as_scores(trained / row["log"], scores_path(folder, row))
            return
        self._say("evaluating", row, seed)
        configs = evaluation_configs(row, self.presets)
        weights = trained / row.get("weights", "model.pt")
        below = {**self.common, **self.elsewhere, **row["evaluate"]}
        overrides = lay_over(self.bundle, configs, below, self.overrides)
        overrides |= {"seed": seed, "ckpt_path": weights, "output_dir": folder}
        run_workflow(build_workflow(self.bundle, configs, overrides, "train"), folder / "evaluate_config.json")
        if not row["published"]:
            pictured.touch()

    def _say(self, what: str, row: Mapping[str, Any], seed: int) -> None:
        of_seed = f", seed {seed}" if self.seeds > 1 else ""
        self.console.print(f"{what}: {row['name']}{of_seed}", markup=False)


def _check_pretrained(table: str, rows: Sequence[Mapping[str, Any]], pretrained: str | None) -> None:
    """Refuse weights to start from that no row of a table can start from."""
    if pretrained is None:
        return
    if all(row["train"].get("pretrained", "@pretrained") is None for row in rows):
        raise InputError(f"no row of {table} starts from pretrained weights: leave --pretrained out.")
    for name, weights in _needed(rows).items():
        if pretrained == "imagenet":
            raise InputError(f"{name} starts from {weights}, not from ImageNet: name its file with --pretrained.")
        if not Path(pretrained).is_file():  # the rows before it can take days
            raise InputError(f"{pretrained} is no file: {name} starts from {weights}, name it with --pretrained.")


def _without_pretrained(untrained: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The rows that cannot be trained from nothing → what to do about it."""
    ask = "which is not part of this package: name its file with --pretrained"
    return {name: f"starts from {weights}, {ask}." for name, weights in _needed(untrained).items()}


def _needed(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {row["name"]: row["needs_pretrained"] for row in rows if "needs_pretrained" in row}


def _as_text(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _claim(output_dir: Path, settings: Mapping[str, Any], later: Collection[str]) -> None:
    """Keep the settings in the output folder, so that rows of other settings are never mixed with what is there.

    Those of `later` can be added to it.
    """
    path = output_dir / "experiment.json"
    # folders of before have no overrides
    earlier = {_OVERRIDES: {}, **json.loads(path.read_text(encoding="utf-8"))} if path.is_file() else {}
    if earlier:
        compared = [key for key in settings if key in earlier or key not in later]
        differing = sorted(key for key in compared if earlier.get(key) != settings[key])
        if differing:
            raise InputError(
                f"{output_dir} holds rows with another {' and '.join(differing)}: name another folder with --out."
            )
    if not settings.keys() <= earlier.keys():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps({**earlier, **settings}, indent=2) + "\n", encoding="utf-8")


def _read(bundle: Bundle, table: str) -> dict[str, Any]:
    path = bundle.root / "experiments" / f"{table}.json"
    if table not in bundle.experiments:
        raise InputError(f"{bundle.name} has no table {table!r}: choose one of {', '.join(bundle.experiments)}.")
    experiment = json.loads(path.read_text(encoding="utf-8"))
    shared = {key: experiment[key] for key in _SHARED if key in experiment}
    return {**experiment, "rows": [{**shared, **row} for row in experiment["rows"]]}
