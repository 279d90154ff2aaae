"""The table of what a data set of nuclei holds: the work behind `tinylesions check-data` for such."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from tinylesions.datasets import LAYOUTS, checked_class_names, read_layout
from tinylesions.datasets.atomic import atomic_path
from tinylesions.datasets.check_nuclei import NucleiReport, iter_check_nuclei

__all__ = ["check_nuclei"]

SHOWN = 20
"""A wrong list of classes makes a problem of every tile: more than these are only in the CSV."""


def check_nuclei(
    layout: str,
    root: Path,
    console: Console,
    csv: Path | None = None,
    class_names: Sequence[str] | None = None,
    split_rule: str = "source",
) -> int:
    """Print what each split holds, and the problems by the id of the tile.

    Args:
        layout: one of ``LAYOUTS`` that has classes of nuclei.
        root: the data set's folder.
        console: where to print.
        csv: file of a table with a row for each tile.
        class_names: the classes, the background first, where they are not the layout's own.
        split_rule: of the layout, see `split_tiles`.

    Returns:
        How many tiles have a problem.

    Raises:
        InputError: the layout cannot be read at all, or names that `checked_class_names` refuses.
    """
    names = checked_class_names(LAYOUTS[layout].classes if class_names is None else class_names)
    items = read_layout(layout, root, split_rule=split_rule)
    rows = iter_check_nuclei(items, names)
    report = NucleiReport(tuple(tqdm(rows, total=len(items), desc="checking", unit="tile", leave=False)))
    console.print(_table(report, f"{layout} in {root}: {len(items)} tiles, nuclei and share of the pixels"))
    if report.absent:
        console.print(
            f"[yellow]warning:[/yellow] no pixel is of {escape(' or '.join(report.absent))}, which cannot be learnt so;"
            " if the classes of this data set are others, name them with --class-names BACKGROUND,NAME,…"
        )
    for number, (tile, problem) in enumerate(report.problems.items()):
        if number == SHOWN:
            more = len(report.problems) - SHOWN
            console.print(f"[red]problem:[/red] and {more:,} tiles more; --csv FILE lists them all")
            break
        console.print(f"[red]problem:[/red] {escape(tile)}: {escape(problem)}")
    if csv is not None:
        with atomic_path(csv) as temporary:
            report.to_frame().to_csv(temporary, index=False)
        console.print(f"saved as {csv}", markup=False)
    return len(report.problems)


def _table(report: NucleiReport, title: str) -> Table:
    """Return a column for each split, so that any number of classes fits the width of a terminal."""
    columns = {**report.splits, "all": report}
    table = Table(title=escape(title), box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("")
    for split in columns:
        table.add_column(split, justify="right")
    parts = list(columns.values())
    table.add_row("tiles", *(f"{len(part.rows):,}" for part in parts))
    table.add_row("sources", *(f"{part.sources:,}" for part in parts))
    table.add_row("size", *(_sizes(part) for part in parts))
    for name in report.pixels:
        table.add_row(escape(name), *(_class(part, name) for part in parts))
    table.add_row("problems", *(f"[red]{len(part.problems):,}[/red]" if part.problems else "–" for part in parts))
    return table


def _sizes(report: NucleiReport) -> str:
    shown = [f"{width}×{height}" for height, width in report.sizes]
    return " to ".join(dict.fromkeys([shown[0], shown[-1]])) if shown else "?"


def _class(report: NucleiReport, name: str) -> str:
    pixels = sum(report.pixels.values())
    share = f"{report.pixels[name] / pixels:.2%}" if pixels else "?"
    return f"{report.nuclei[name]:,}  {share:>7}" if name in report.nuclei else share
