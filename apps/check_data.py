"""The table of what a data set holds: the work behind `tinylesions check-data`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from tinylesions.apps.check_nuclei import check_nuclei
from tinylesions.apps.wording import counted
from tinylesions.datasets import (
    ALL_LESIONS,
    LAYOUTS,
    LESION_CODES,
    OCTA_LESION_CODES,
    CheckReport,
    CheckRow,
    InputError,
    iter_check,
    lesions_of,
    read_layout,
    save_datalist,
)
from tinylesions.datasets.atomic import atomic_path

__all__ = ["check_data"]

_CODES = {**LESION_CODES, **OCTA_LESION_CODES}


def check_data(
    layout: str,
    root: Path,
    console: Console,
    csv: Path | None = None,
    datalist_file: Path | None = None,
    class_names: Sequence[str] | None = None,
    split_rule: str | None = None,
) -> int:
    """Print a row for each photo, the totals, the photos with each lesion in each split, and the problems.

    Of nuclei there is a column for each split (`check_nuclei`).

    Args:
        layout: one of ``LAYOUTS``.
        root: the data set's folder or datalist file.
        console: where to print.
        csv: file of the same table.
        datalist_file: file of the JSON datalist; for a layout of nuclei there is none.
        class_names: of a layout of nuclei, the background first, where they are not its own.
        split_rule: of a layout of nuclei, "source" by default.

    Returns:
        How many photos have a problem.

    Raises:
        InputError: the layout cannot be read at all, or has no such option.
    """
    if LAYOUTS[layout].classes:
        if datalist_file is not None:
            raise InputError(f"a datalist holds no nuclei: leave --save-datalist out for the layout {layout}.")
        return check_nuclei(layout, root, console, csv, class_names, split_rule or "source")
    if class_names is not None or split_rule is not None:
        raise InputError(f"--class-names and --split-rule are for layouts of nuclei: leave them out for {layout}.")
    items = read_layout(layout, root)
    lesions = lesions_of(items) if LAYOUTS[layout].own_lesions else LAYOUTS[layout].lesions
    own = [lesion for lesion in lesions if lesion not in ALL_LESIONS]
    if own and datalist_file is not None:
        raise InputError(
            f"a datalist holds no {', '.join(own)}: leave --save-datalist out, and write splits into photos.csv."
        )
    rows = iter_check(items, LAYOUTS[layout].allow_empty, lesions)
    report = CheckReport(tuple(tqdm(rows, total=len(items), desc="checking", unit="photo", leave=False, disable=None)))
    pixels = ", lesion pixels" if report.lesions else ""
    console.print(_table(report, f"{layout} in {root}: {len(items)} photos{pixels}"))
    if report.lesions:
        console.print(_counts(report))
    for warning in report.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}")
    for problem in report.problems:
        console.print(f"[red]problem:[/red] {escape(problem)}")
    if csv is not None:
        with atomic_path(csv) as temporary:
            report.to_frame().to_csv(temporary, index=False)
        console.print(f"saved as {csv}", markup=False)
    if datalist_file is not None:
        try:
            datalist_file.parent.mkdir(parents=True, exist_ok=True)
            save_datalist(items, datalist_file)
        except OSError as error:
            raise InputError(f"{datalist_file} cannot be written ({error.strerror}): name another file.") from error
        console.print(
            f"datalist saved as {datalist_file}; train on it with --layout json --dataset_dir {datalist_file}",
            markup=False,
        )
    return len(report.problems)


def _table(report: CheckReport, title: str) -> Table:
    table = Table(title=escape(title), show_footer=True, box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("photo", footer="all")
    table.add_column("split")
    table.add_column("size", justify="right")
    for lesion, total in report.totals.items():
        table.add_column(_CODES.get(lesion, lesion), justify="right", footer=f"{total:,}")
    if report.graded:
        footer = "\n".join(f"{grade}: {counted(count, 'photo')}" for grade, count in report.graded.items())
        table.add_column("grade", justify="right", footer=footer)
    table.add_column("files", footer=f"{len(report.problems)} problems" if report.problems else "no problem")
    lesions = report.lesions
    graded = bool(report.graded)
    for row in report.rows:
        pixels = [_pixels(row, lesion) for lesion in lesions]
        grade = ["?" if row.grade is None else str(row.grade)] if graded else []
        size = f"{row.width}×{row.height}" if row.width else "?"
        table.add_row(escape(row.id), row.split, size, *pixels, *grade, _state(row))
    return table


def _counts(report: CheckReport) -> Table:
    """How many photos show each lesion: a lesion that no photo for training shows cannot be learnt."""
    table = Table(title="photos that show the lesion", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("split")
    for lesion in report.lesions:
        table.add_column(_CODES.get(lesion, lesion), justify="right")
    for split, counts in report.marked.items():
        table.add_row(split, *map(str, counts.values()))
    return table


def _pixels(row: CheckRow, lesion: str) -> str:
    if not row.pixels:
        return "?"  # nobody knows, while – is an absent lesion
    return f"{row.pixels[lesion]:,}" if row.pixels[lesion] else "–"


def _state(row: CheckRow) -> str:
    if row.problem:
        return "[red]problem[/red]"
    return "[yellow]warning[/yellow]" if row.warning else "[green]ok[/green]"
