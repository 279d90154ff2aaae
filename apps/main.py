"""The `tinylesions` command: each sub-command reads its arguments here and works elsewhere."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.markup import escape

from tinylesions import __version__
from tinylesions.apps.consoles import console, errors
from tinylesions.apps.data_commands import check_data, phantom
from tinylesions.apps.input_errors import find_input_error
from tinylesions.apps.options import (
    DEFAULT_BUNDLE,
    BundleOption,
    LayoutName,
    Precision,
    PresetOption,
)
from tinylesions.apps.warning_sentences import show_warnings_as_sentences
from tinylesions.apps.wording import counted
from tinylesions.datasets import InputError
from tinylesions.monai_bundles import Bundle, find_bundle

__all__ = ["app", "main"]

# Threads that wait by spinning for long make training on shared cores many times slower; read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# the heavy imports (torch, MONAI) wait until a command needs them, so that --help answers at once
app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
)

_INTERRUPTED = 130  # what typer makes of Ctrl-C


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

    A first look without any data:  `tinylesions demo`

    Your photos:  `tinylesions predict PHOTOS --weights model.pt --out results`

    Training and evaluation are MONAI's `python -m monai.bundle run`; each bundle's docs/README.md shows how.
    """


app.command()(phantom)
app.command("check-data")(check_data)


@app.command()
def predict(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="PHOTO|FOLDER...", help="Photos or tiles, and folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results; created if needed.")],
    bundle: BundleOption = DEFAULT_BUNDLE,
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="model.pt of a training; the bundle's own models/model.pt by default. The bundle for OCTA images has a"
            " network for each lesion: name the folder of IRMA.pt, NPA.pt and NV.pt (by default its own models), or one"
            " of these files; a lesion without its file is not looked for. The bundle for nuclei has two: name the"
            " folder of multi_class.pt, binary.pt and training.json; without one of the weights there is only the"
            " other's result."
        ),
    ] = None,
    preset: PresetOption = None,
    overlap: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0,
            max=0.9,
            help="Share of a window that its neighbour covers; less is faster and coarser. Only for bundles that cut"
            " photos into windows.",
        ),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Large windows with little overlap: faster, but pixels get other neighbours than in training, which"
            " gives another, similar, map. Only for bundles that cut photos into windows.",
        ),
    ] = False,
    precision: Annotated[
        Optional[Precision],  # noqa: UP045
        typer.Option(
            help="auto, the default, is what the device is fastest with; float32 is the reference; bf16 and, on a"
            " GPU, fp16 change probabilities by some hundredths at most."
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Also draw where in the photo the evidence for its grade lies (Grad-CAM), which takes longer."
            " Only for bundles that grade photos.",
        ),
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default cuda if there is one, else cpu.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict again what is already in OUT.")] = False,
) -> None:
    """Find the lesions of photos, or the nuclei of tiles of tissue: maps, overlay and tables at each one's own size.

    OUT gets a folder per photo with

    - `<lesion>.png`: the probability of each lesion in 16 bits,
    - `label_map.png`: the most probable class of each pixel, or where each lesion is looked for by itself, the most
      probable lesion that reaches 0.5; of OCTA images, whose lesions overlap, `<lesion>_mask.png` instead, 255 where
      the lesion reaches 0.5,
    - `overlay.jpg`: the lesions drawn into the photo,
    - `lesions.csv` and `summary.json`: each lesion's place and size, counts and areas, and the photo's grade from
      bundles that grade,
    - `grade_evidence.jpg`, with `--explain`: where the evidence for that grade lies;

    or a folder per tile of tissue with

    - `multi_class.png`, `binary.png`, `combined.png`: the class of each pixel by the network of all classes, nucleus or
      not by the binary network, and the classes with the background of both,
    - `foreground.png`: the binary network's probability of a nucleus in 16 bits,
    - `overlay.jpg`: the nuclei drawn into the tile,
    - `nuclei.csv` and `summary.json`: each nucleus's class, place and size, counts and areas;

    and for all photos `lesions.csv`, `photos.csv` (of tiles: `nuclei.csv`, `tiles.csv`) and `run.json` (versions and
    settings). A bad photo is left out, named at the end and in `errors.csv`, and does not stop the others (exit code
    2). The same command goes on where it was interrupted.
    """
    chosen = find_bundle(bundle)
    presets = _presets(chosen, preset)
    from tinylesions.apps.predict import predict

    overrides: dict[str, float | bool | str] = {}
    if overlap is not None:
        overrides["overlap"] = overlap
    if fast:
        overrides["fast"] = True
    if precision is not None:
        overrides["precision"] = precision.value
    if explain:
        overrides["explain"] = True
    result = predict(
        inputs,
        chosen,
        out,
        weights,
        presets,
        overrides,
        device,
        overwrite,
        partial(console.print, markup=False),
    )
    already = f", {len(result.skipped)} already done" if result.skipped else ""
    console.print(f"{counted(len(result.done), chosen.item)} predicted{already}: see {out}", markup=False)
    if result.failed:
        left_out = counted(len(result.failed), chosen.item)
        errors.print(f"[red]{left_out} left out[/red], see {escape(str(out / 'errors.csv'))}:")
        for problem in result.failed.values():
            errors.print(f"  {problem}", markup=False)
        raise typer.Exit(2)


@app.command()
def experiment(
    table: Annotated[str, typer.Argument(help="A table of the paper, e.g. table_4.")],
    dataset_dir: Annotated[Path, typer.Option(help="The data set's folder, or the file of a JSON datalist.")],
    out: Annotated[Path, typer.Option(help="Folder of weights, scores and the table.")],
    bundle: BundleOption = DEFAULT_BUNDLE,
    preset: PresetOption = None,
    row: Annotated[Optional[list[str]], typer.Option(help="Only this row; can be given several times.")] = None,  # noqa: UP045
    layout: Annotated[
        Optional[LayoutName],  # noqa: UP045
        typer.Option(help="The data set's layout, where it is not the table's own."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, metavar="N", help="Train every row so many times, and write mean ± deviation.")
    ] = 1,
    pretrained: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="ImageNet weights to start from: `imagenet` downloads torchvision's, a path names its file. With the"
            " bundle for OCTA images: the path of Segment Anything's checkpoint, which only SAMadapter starts from."
        ),
    ] = None,
    evaluation_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The data set whose test photos are scored, for a table that trains on another."),
    ] = None,
    evaluation_layout: Annotated[
        Optional[LayoutName],  # noqa: UP045
        typer.Option(help="Its layout, where it is not the table's own."),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--set",
            metavar="ID=VALUE",
            help="Override an id of the bundle's configs in every training and evaluation, e.g. `--set max_epochs=5`;"
            " can be given several times. Not for an id that makes the rows what they are.",
        ),
    ] = None,
) -> None:
    """Train and evaluate the rows of a paper's table, and write them beside the published figures (CSV, Markdown).

    What is done is kept: a row is not trained twice, an interrupted training goes on, and more `--seeds` only add to
    what is there. A row without published figures makes pictures; one that cannot be trained without `--pretrained`
    is left out where that is not given. For example
    `tinylesions experiment table_4 --dataset-dir IDRiD --out table_4 --row "output 4"`.
    """
    chosen = find_bundle(bundle)
    presets = _presets(chosen, preset)
    from tinylesions.apps.experiment import run_experiment
    from tinylesions.apps.experiment_overrides import parse_overrides

    run_experiment(
        chosen,
        table,
        dataset_dir,
        out,
        presets=presets,
        rows=row,
        layout=layout.value if layout else None,
        console=console,
        seeds=seeds,
        pretrained=pretrained,
        evaluation_dir=evaluation_dir,
        evaluation_layout=evaluation_layout.value if evaluation_layout else None,
        overrides=parse_overrides(set_ or []),
    )


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder of everything the demonstration makes; one for each bundle.")
    ] = Path("demo"),
    bundle: BundleOption = DEFAULT_BUNDLE,
) -> None:
    """Draw phantoms, train the small preset, evaluate, and predict full images: a few minutes on two cores.

    It shows the whole road without any data. What is done is kept when it is started again with the same folder.
    """
    from tinylesions.apps.demo import run_demo

    run_demo(find_bundle(bundle), out, console)


def _presets(bundle: Bundle, preset: str | None) -> list[str]:
    if preset is None:
        return []
    if preset not in bundle.presets:
        raise InputError(f"{bundle.name} has no preset {preset!r}: choose one of {', '.join(bundle.presets)}.")
    return [preset]


def main() -> None:
    """Run the command; bad input is one sentence and exit code 2, anything else a traceback."""
    show_warnings_as_sentences(errors)
    try:
        app()
    except SystemExit as ending:
        if ending.code == _INTERRUPTED:
            errors.print("interrupted: give the same command again to go on.")
        raise
    except Exception as error:
        problem = find_input_error(error)
        if problem is None:
            raise
        errors.print("[red]error:[/red]", end=" ")
        errors.print(str(problem), markup=False)
        sys.exit(2)
