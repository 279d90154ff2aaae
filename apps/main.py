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
from tinylesions.apps.options import DEFAULT_BUNDLE, BundleOption, Precision, PresetOption, checked_presets
from tinylesions.apps.training_commands import experiment, finetune
from tinylesions.apps.warning_sentences import show_warnings_as_sentences
from tinylesions.apps.wording import counted
from tinylesions.monai_bundles import find_bundle

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

    Your photos:  `tinylesions predict PHOTOS --out results`

    Your photos with your masks of any lesions:  `tinylesions finetune FOLDER --out finetuned`

    Other training and evaluation are MONAI's `python -m monai.bundle run`; each bundle's docs/README.md shows how.
    """


app.command()(phantom)
app.command("check-data")(check_data)
app.command()(finetune)


@app.command()
def predict(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="PHOTO|FOLDER...", help="Photos or tiles, and folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the results; created if needed.")] = Path("results"),
    bundle: BundleOption = DEFAULT_BUNDLE,
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="model.pt of a training; the bundle's own models/model.pt by default, if it has one (for research, no"
            " medical device). The bundle for OCTA images has a network for each lesion: name"
            " the folder of IRMA.pt, NPA.pt and NV.pt (by default its own models), or one of these files; a lesion"
            " without its file is not looked for. The bundle for nuclei has two: name the folder of multi_class.pt,"
            " binary.pt and training.json; without one of the weights there is only the other's result."
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
    threshold: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="LESION=VALUE",
            help="Probability from which a pixel is that lesion, in place of the weights' own, e.g. `--threshold"
            " haemorrhage=0.4`; can be given several times. Only for weights that look for each lesion by itself.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default cuda if there is one, else cpu.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict again what is already in OUT.")] = False,
) -> None:
    """Find the lesions of photos, or the nuclei of tiles of tissue: maps, overlay and tables at each one's own size.

    OUT gets a folder per photo with

    - `<lesion>.png`: the probability of each lesion in 16 bits,
    - `label_map.png`: the most probable class of each pixel, or where each lesion is looked for by itself, the most
      probable lesion that reaches its threshold (0.5 where the weights have none); of lesions that overlap, as in OCTA
      images, or have names of your own, `<lesion>_mask.png` instead, 255 where the lesion reaches it,
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
    2). The same command goes on where it was interrupted. For example `tinylesions predict photo.jpg`.
    """
    chosen = find_bundle(bundle)
    presets = checked_presets(chosen, preset)
    from tinylesions.apps.predict import predict
    from tinylesions.apps.thresholds import parse_thresholds

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
        thresholds=parse_thresholds(threshold or []),
    )
    already = f", {len(result.skipped)} already done" if result.skipped else ""
    console.print(f"{counted(len(result.done), chosen.item)} predicted{already}: see {out}", markup=False)
    if result.failed:
        left_out = counted(len(result.failed), chosen.item)
        errors.print(f"[red]{left_out} left out[/red], see {escape(str(out / 'errors.csv'))}:")
        for problem in result.failed.values():
            errors.print(f"  {problem}", markup=False)
        raise typer.Exit(2)


app.command()(experiment)


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
