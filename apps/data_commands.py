"""The commands about data sets: draw one, check one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tinylesions.apps.consoles import console, errors
from tinylesions.apps.options import IDRID, LayoutName, PhantomLayout
from tinylesions.apps.wording import counted
from tinylesions.datasets import LAYOUTS

__all__ = ["check_data", "phantom"]


def phantom(
    out: Annotated[Path, typer.Argument(help="Folder of the data set; new or empty.")],
    layout: Annotated[
        PhantomLayout,
        typer.Option(
            help="Whose official folders to write; drac's hold OCTA images, conic's and monusac's tissue with nuclei."
        ),
    ] = IDRID,
    photos: Annotated[
        tuple[int, int, int],
        typer.Option(
            metavar="N N N",
            help="How many photos for training, validation and test. All layouts but ddr have one folder for the first"
            " two, conic has one for all.",
        ),
    ] = (12, 4, 4),
    size: Annotated[
        Optional[tuple[int, int]],  # noqa: UP045
        typer.Option(
            metavar="HEIGHT WIDTH",
            help="In pixels. Photos: 2848 4288 by default, at least 192 256. drac: 1024 1024 by default, at least"
            " 128 128. conic and monusac: 256 256 by default, at least 64 64.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same photos.")] = 0,
    grading: Annotated[
        bool,
        typer.Option(
            "--grading", help="Graded photos instead of lesion masks; eyepacs always is; drac, conic and monusac never."
        ),
    ] = False,
) -> None:
    """Draw fundus photos, OCTA images or tissue with masks, or photos with grades, for trying things out.

    They are drawings: good for plumbing and demonstrations, no evidence about eyes or tissue. For example
    `tinylesions phantom phantoms --photos 4 2 2 --size 712 1072`.
    """
    from tinylesions.apps.phantoms import write_phantoms

    write_phantoms(out, layout.value, photos, size, seed, grading)
    check = f"{layout.value}_grading" if grading and layout.value != "eyepacs" else layout.value
    advice = f'check them with: tinylesions check-data {check} "{out}"'
    console.print(f"{counted(sum(photos), 'phantom')} in {out}; {advice}", markup=False)


def check_data(
    layout: Annotated[
        LayoutName,
        typer.Argument(
            help="folder: your own photos in images/ and masks in masks/<lesion>/; json: a datalist file; the others:"
            " the official folders."
        ),
    ],
    root: Annotated[Path, typer.Argument(help="The data set's folder, or the datalist file.")],
    csv: Annotated[Optional[Path], typer.Option(help="Also write the table as CSV.")] = None,  # noqa: UP045
    save_datalist: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Also write the photos and their split as a JSON datalist, to edit and train on."),
    ] = None,
    class_names: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="BACKGROUND,NAME,…",
            help="Nuclei: the classes by their numbers, where they are not those of CoNIC or MoNuSAC.",
        ),
    ] = None,
    split_rule: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Nuclei: source (no source in two splits, the default) or random."),
    ] = None,
) -> None:
    """Read every photo, mask and grade of a data set, or every tile and its nuclei, and say what is there and wrong.

    Exit code 2 when a file has to be repaired. For example `tinylesions check-data idrid IDRiD`, where `IDRiD` is the
    folder that holds `A. Segmentation`.
    """
    from tinylesions.apps.check_data import check_data

    names = None if class_names is None else [name.strip() for name in class_names.split(",")]
    problems = check_data(layout.value, root, console, csv, save_datalist, names, split_rule)
    if problems:
        noun = "tile" if LAYOUTS[layout.value].classes else "photo"
        have = f"{noun} has" if problems == 1 else f"{noun}s have"
        errors.print(f"[red]{problems} {have} problems[/red]: repair the files named above before training.")
        raise typer.Exit(2)
