"""Write phantom data sets with a progress bar: the work behind `tinylesions phantom`."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from tinylesions.datasets import InputError
from tinylesions.datasets.atomic import atomic_folder
from tinylesions.datasets.phantoms import (
    write_ddr_grading,
    write_ddr_segmentation,
    write_eyepacs,
    write_idrid_grading,
    write_idrid_segmentation,
)

__all__ = ["PHANTOM_NOTE", "write_phantoms"]

PHANTOM_NOTE = "PHANTOMS.txt"
"""The file in the root of a drawn data set that says so."""


def write_phantoms(
    root: Path, layout: str, photos: tuple[int, int, int], size: tuple[int, int], seed: int, grading: bool = False
) -> None:
    """Draw a data set in an official layout; the folder is there when it is complete.

    Args:
        root: its folder.
        layout: ``"idrid"``, ``"ddr"`` or ``"eyepacs"``.
        photos: how many for training, validation and test. IDRiD and EyePACS have one folder for the first two.
        size: (H, W) in pixels.
        seed: the same seed gives the same photos.
        grading: photos with a grade instead of photos with lesion masks; EyePACS has no others.

    Raises:
        InputError: the folder holds something already or cannot be written, or a number is out of range.
    """
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
    with tqdm(total=sum(photos), desc="drawing", unit="photo") as bar, atomic_folder(root.resolve()) as folder:
        try:
            if layout == "idrid":
                write = write_idrid_grading if grading else write_idrid_segmentation
                write(folder, training + validation, test, size=size, seed=seed, progress=bar.update)
            elif layout == "eyepacs":
                write_eyepacs(folder, training + validation, test, size=size, seed=seed, progress=bar.update)
            else:
                write_ddr = write_ddr_grading if grading else write_ddr_segmentation
                write_ddr(folder, training, validation, test, size=size, seed=seed, progress=bar.update)
        except ValueError as error:
            raise InputError(str(error)) from error
        (folder / PHANTOM_NOTE).write_text("These photos are drawings. Scores on them say nothing about eyes.\n")
