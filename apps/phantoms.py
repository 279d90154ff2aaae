"""Write phantom data sets with a progress bar: the work behind `tinylesions phantom`."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from tinylesions.datasets import InputError
from tinylesions.datasets.phantoms import (
    write_ddr_grading,
    write_ddr_segmentation,
    write_idrid_grading,
    write_idrid_segmentation,
)

__all__ = ["write_phantoms"]


def write_phantoms(
    root: Path, layout: str, photos: tuple[int, int, int], size: tuple[int, int], seed: int, grading: bool = False
) -> None:
    """Draw a data set in an official layout.

    Args:
        root: its folder.
        layout: ``"idrid"`` or ``"ddr"``.
        photos: how many for training, validation and test. IDRiD's layout has one folder for the first two.
        size: (H, W) in pixels.
        seed: the same seed gives the same photos.
        grading: photos with a grade instead of photos with lesion masks.

    Raises:
        InputError: the folder holds something already, or a number is out of range.
    """
    training, validation, test = photos
    if min(photos) < 0 or training < 1:
        raise InputError(
            f"{training} {validation} {test} photos cannot be drawn: name three numbers, the first above 0."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not empty: name a new folder, or remove what is there.")
    with tqdm(total=sum(photos), desc="drawing", unit="photo") as bar:
        try:
            if layout == "idrid":
                write = write_idrid_grading if grading else write_idrid_segmentation
                write(root, training + validation, test, size=size, seed=seed, progress=bar.update)
            else:
                write_ddr = write_ddr_grading if grading else write_ddr_segmentation
                write_ddr(root, training, validation, test, size=size, seed=seed, progress=bar.update)
        except ValueError as error:
            raise InputError(str(error)) from error
