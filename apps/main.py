"""The `tinylesions` command: each sub-command reads its arguments here and works elsewhere."""

from __future__ import annotations

import os
import sys
import warnings
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from tinylesions import __version__
from tinylesions.datasets import LAYOUTS, InputError
from tinylesions.monai_bundles import BUNDLES, find_bundle

__all__ = ["app", "main"]

# Threads that wait by spinning make training on shared cores many times slower; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# the heavy imports (torch, MONAI) wait until a command needs them, so that --help answers at once
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
console = Console(highlight=False, soft_wrap=True)
if not console.is_terminal:
    console.width = 120  # a table in a log file is not cut at 80 columns
errors = Console(stderr=True, highlight=False, soft_wrap=True)

_DEFAULT_BUNDLE = next(iter(BUNDLES))
LayoutName = Enum("LayoutName", {name: name for name in LAYOUTS}, type=str)  # type: ignore[misc]
PhantomLayout = Enum("PhantomLayout", {name: name for name in ("idrid", "ddr")}, type=str)  # type: ignore[misc]

BundleOption = Annotated[str, typer.Option("--bundle", help="Name of the bundle.")]
PresetOption = Annotated[
    Optional[str],  # noqa: UP045  typer reads it at run time, on Python 3.10 too
    typer.Option(help="A config of the bundle that overrides its paper's setting, e.g. [b]cpu[/b]."),
]


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"tinylesions {__version__}")
        raise typer.Exit


@app.callback()
def _tinylesions(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Find tiny lesions in huge medical images.

    A first look without any data:  [b]tinylesions demo[/b]

    Your photos:  [b]tinylesions predict PHOTOS --weights model.pt --out results[/b]

    Training and evaluation are MONAI's [b]python -m monai.bundle run[/b]; each bundle's docs/README.md shows how.
    """


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder of the data set to write.")],
    layout: Annotated[PhantomLayout, typer.Option(help="Whose official folders to write.")] = PhantomLayout.idrid,  # type: ignore[attr-defined]
    photos: Annotated[tuple[int, int, int], typer.Option(help="Photos for training, validation and test.")] = (
        12,
        4,
        4,
    ),
    size: Annotated[tuple[int, int], typer.Option(metavar="HEIGHT WIDTH", help="In pixels.")] = (2848, 4288),
    seed: Annotated[int, typer.Option(help="The same seed gives the same photos.")] = 0,
    grading: Annotated[bool, typer.Option("--grading", help="Graded photos instead of lesion masks.")] = False,
) -> None:
    """Draw fundus photos with lesions and their masks, for trying things out.

    They are drawings: good for plumbing and demonstrations, no evidence about eyes.
    """
    from tinylesions.apps.phantoms import write_phantoms

    write_phantoms(out, layout.value, photos, size, seed, grading)
    console.print(f"{sum(photos)} phantoms in {out}; look at them with: tinylesions check-data {layout.value} {out}")


@app.command("check-data")
def check_data(
    layout: Annotated[LayoutName, typer.Argument(help="idrid and ddr: the official folders; json: a datalist file.")],  # type: ignore[valid-type]
    root: Annotated[Path, typer.Argument(help="The data set's folder, or the datalist file.")],
    csv: Annotated[Optional[Path], typer.Option(help="Also write the table as CSV.")] = None,  # noqa: UP045
    save_datalist: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Also write the photos and their split as a JSON datalist, to edit and train on."),
    ] = None,
) -> None:
    """Read every photo and mask of a data set and say what is there and what is wrong with it.

    Exit code 2 when a file has to be repaired.
    """
    from tinylesions.apps.check_data import check_data

    problems = check_data(layout.value, root, console, csv, save_datalist)  # type: ignore[attr-defined]
    if problems:
        errors.print(f"[red]{problems} photos have problems[/red]: repair the files named above before training.")
        raise typer.Exit(2)


@app.command()
def predict(
    inputs: Annotated[list[Path], typer.Argument(metavar="PHOTO|FOLDER...", help="Photos and folders of photos.")],
    out: Annotated[Path, typer.Option(help="Folder of the results; created if needed.")],
    bundle: BundleOption = _DEFAULT_BUNDLE,
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="model.pt of a training; the bundle's own models/model.pt by default."),
    ] = None,
    preset: PresetOption = None,
    overlap: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, max=0.9, help="Share of a window that its neighbour covers; less is faster and coarser."),
    ] = None,
    device: Annotated[Optional[str], typer.Option(help="cpu, cuda, cuda:1, mps; the fastest by default.")] = None,  # noqa: UP045
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict again what is already in OUT.")] = False,
) -> None:
    """Find the lesions of photos: probability maps, label map, overlay and tables at each photo's own size.

    OUT gets a folder per photo (<lesion>.png with 16-bit probabilities, label_map.png, overlay.jpg, lesions.csv,
    summary.json), and for all photos lesions.csv, photos.csv and run.json. A bad photo is left out, named at the end
    and in errors.csv, and does not stop the others (exit code 2). An interrupted run goes on where it stopped.
    """
    from tinylesions.apps.predict import predict

    overrides: dict[str, object] = {}
    if overlap is not None:
        overrides["overlap"] = overlap
    if device is not None:
        overrides["device"] = f"$torch.device({device!r})"
    result = predict(
        inputs, find_bundle(bundle), out, weights, [preset] if preset else [], overrides, overwrite, console.print
    )
    console.print(f"{len(result.done)} photos predicted, {len(result.skipped)} were already done: see {out}")
    if result.failed:
        errors.print(f"[red]{len(result.failed)} left out[/red], see {out / 'errors.csv'}:")
        for problem in result.failed.values():
            errors.print(f"  {problem}", markup=False)
        raise typer.Exit(2)


@app.command()
def experiment(
    table: Annotated[str, typer.Argument(help="A table of the paper, e.g. table_4.")],
    dataset_dir: Annotated[Path, typer.Option(help="The data set's folder.")],
    out: Annotated[Path, typer.Option(help="Folder of weights, scores and the table.")],
    bundle: BundleOption = _DEFAULT_BUNDLE,
    preset: PresetOption = None,
    row: Annotated[Optional[list[str]], typer.Option(help="Only this row; can be given several times.")] = None,  # noqa: UP045
    layout: Annotated[
        Optional[LayoutName],  # type: ignore[valid-type]  # noqa: UP045
        typer.Option(help="The data set's layout, where it is not the table's own."),
    ] = None,
) -> None:
    """Train and evaluate the rows of a paper's table, and write them beside the published figures (CSV, Markdown).

    What is done is kept: a row is not trained twice, and an interrupted training goes on.
    """
    from tinylesions.apps.experiment import run_experiment

    run_experiment(
        find_bundle(bundle),
        table,
        dataset_dir,
        out,
        presets=[preset] if preset else [],
        rows=row,
        layout=layout.value if layout else None,  # type: ignore[attr-defined]
        console=console,
    )


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of everything the demonstration makes.")] = Path("demo"),
    bundle: BundleOption = _DEFAULT_BUNDLE,
) -> None:
    """Draw phantoms, train the small preset, evaluate, and predict full photos: a few minutes on two cores."""
    from tinylesions.apps.demo import run_demo

    run_demo(find_bundle(bundle), out, console)


def main() -> None:
    """Run the command; bad input is one sentence and exit code 2, anything else a traceback."""
    warnings.showwarning = _show_warning
    try:
        app()
    except Exception as error:
        problem: BaseException | None = error
        while problem is not None and not isinstance(problem, InputError):
            problem = problem.__cause__ or problem.__context__
        if problem is None:
            raise
        errors.print("[red]error:[/red]", end=" ")
        errors.print(str(problem), markup=False)
        sys.exit(2)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Show what this project warns of (a plain UserWarning) as a sentence; libraries' notes are for developers."""
    if category is UserWarning:
        errors.print("[yellow]warning:[/yellow]", end=" ")
        errors.print(str(message), markup=False)
