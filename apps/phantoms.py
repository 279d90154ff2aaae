"""Write phantom data sets with a progress bar: the work behind `tinylesions phantom`."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from tinylesions.datasets import InputError
from tinylesions.datasets.atomic import atomic_folder
from tinylesions.datasets.phantoms import (
    write_conic,
    write_ddr_grading,
    write_ddr_segmentation,
    write_drac,
    write_eyepacs,
    write_idrid_grading,
    write_idrid_segmentation,
    write_monusac,
)
from tinylesions.datasets.phantoms.histology import TILE_SIZE
from tinylesions.datasets.phantoms.octa import OCTA_SIZE
from tinylesions.datasets.phantoms.photo import FULL_SIZE

__all__ = ["PHANTOM_NOTE", "write_phantoms"]

SIZES = {"drac": OCTA_SIZE, "conic": TILE_SIZE, "monusac": TILE_SIZE}  # the others have fundus photos
WITHOUT_GRADES = {"drac": "OCTA phantoms", "conic": "tissue phantoms", "monusac": "tissue phantoms"}
TISSUE_LAYOUTS = ("conic", "monusac")

PHANTOM_NOTE = "PHANTOMS.txt"
"""The file in the root of a drawn data set that says so."""


def write_phantoms(
    root: Path,
    layout: str,
    photos: tuple[int, int, int],
    size: tuple[int, int] | None,
    seed: int,
    grading: bool = False,
) -> None:
    """Draw a data set in an official layout; the folder is there when it is complete.

    Args:
        root: its folder.
        layout: ``"idrid"``, ``"ddr"``, ``"eyepacs"``; ``"drac"``, which has OCTA images; ``"conic"`` or
            ``"monusac"``, which have tiles of tissue with nuclei.
        photos: how many for training, validation and test. All but DDR have one folder for the first two, CoNIC has one
            for all.
        size: (H, W) in pixels; None is the size of IDRiD's photos, of DRAC2022's images, or of CoNIC's tiles.
        seed: the same seed gives the same photos.
        grading: photos with a grade instead of photos with lesion masks; EyePACS has no others; DRAC and tissue have
            none.

    Raises:
        InputError: the folder holds something already or cannot be written, a number is out of range, or grades are
            asked for in a layout that has none.
    """
    if grading and layout in WITHOUT_GRADES:
        raise InputError(
            f"{WITHOUT_GRADES[layout]} in {layout}'s layout have no grades: leave out --grading, or name another "
            "layout."
        )
    training, validation, test = photos
    if min(photos) < 0 or training < 1:
        raise InputError(
            f"{training} {validation} {test} photos cannot be drawn: name three numbers, the first above 0."
        )
    if root.is_file():
        raise InputError(f"{root} is a file: name a new folder.")
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty: name a new folder, or remove what is there.")
    if root.resolve() == Path.cwd():  # it would be replaced under the user's feet
        raise InputError(f"{root} is the current folder: name a new folder in it.")
    size = size or SIZES.get(layout, FULL_SIZE)
    things, scored = ("tiles", "tissue") if layout in TISSUE_LAYOUTS else ("photos", "eyes")
    with tqdm(total=sum(photos), desc="drawing", unit=things[:-1]) as bar, atomic_folder(root.resolve()) as folder:
        try:
            if layout == "idrid":
                write = write_idrid_grading if grading else write_idrid_segmentation
                write(folder, training + validation, test, size=size, seed=seed, progress=bar.update)
            elif layout == "eyepacs":
                write_eyepacs(folder, training + validation, test, size=size, seed=seed, progress=bar.update)
            elif layout == "drac":
                write_drac(folder, training + validation, test, size=size, seed=seed, progress=bar.update)
            elif layout == "conic":
                write_conic(folder, training, validation, test, size=size, seed=seed, progress=bar.update)
            elif layout == "monusac":
                write_monusac(folder, training + validation, test, size=size, seed=seed, progress=bar.update)
            else:
                write_ddr = write_ddr_grading if grading else write_ddr_segmentation
                write_ddr(folder, training, validation, test, size=size, seed=seed, progress=bar.update)
        except ValueError as error:
            raise InputError(str(error)) from error
        (folder / PHANTOM_NOTE).write_text(f"These {things} are drawings. Scores on them say nothing about {scored}.\n")
