"""What DRAC2022's segmentation task takes: one NIfTI volume a lesion, with a slice for each test image."""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from tinylesions.datasets.atomic import atomic_path
from tinylesions.datasets.decoding import decode_image
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import OCTA_LESIONS
from tinylesions.datasets.photos import natural_key, photo_size

__all__ = ["check_drac_images", "write_drac_submission"]

TEST_IMAGES, SIZE = 65, (1024, 1024)
LPS_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""What SimpleITK writes for an image without a direction of its own."""


def check_drac_images(images: Sequence[str | Path]) -> None:
    """Check, before a prediction that takes long, that the challenge would take the volumes of these images.

    Raises:
        InputError: they are not all of one size, so that there is no volume of them. Other numbers and sizes than the
            challenge's give a warning.
    """
    sizes = {str(image): photo_size(image) for image in images}
    first = next(iter(sizes.values()), SIZE)
    for image, size in sizes.items():
        if size != first:
            raise InputError(
                f"{image} has {size[1]} × {size[0]} pixels (width × height), the first image"
                f" {first[1]} × {first[0]}: a volume holds images of one size, leave it out."
            )
    if (len(sizes), first) != (TEST_IMAGES, SIZE):
        warnings.warn(
            f"the challenge takes {TEST_IMAGES} images of 1024 × 1024 pixels, and these are {len(sizes)} of"
            f" {first[1]} × {first[0]}",
            stacklevel=2,
        )


def write_drac_submission(
    predictions: Iterable[str | Path],
    output_dir: str | Path,
    lesions: Sequence[str] = OCTA_LESIONS,
) -> list[Path]:
    """Write the masks of many images as DRAC2022's volumes ``1.nii.gz``, ``2.nii.gz`` and ``3.nii.gz``.

    They are of intraretinal microvascular abnormalities, nonperfusion areas and neovascularisation, 8 bits, 0 and 1.
    Their slices are the images in the numeric order of their ids, 2 before 10; ``<output_dir>_order.csv`` says which
    slice, from 0, is which image. The same masks give the same bytes.

    The axes are as the challenge's own program (``submission_guidance`` of its repository) writes them with SimpleITK,
    whose ``GetArrayFromImage`` gives (N, H, W), 65×1024×1024; nibabel, which counts axes the other way round, gives
    (W, H, N).

    Args:
        predictions: the images' folders, each named by its image's id, with the ``<lesion>_mask.png`` that
            :class:`~tinylesions.transforms.save_lesions.SaveLesionsd` wrote, 8 bits, 0 and 255.
        output_dir: folder of the volumes.
        lesions: the lesions to write; each has its own number, whichever are written. One without a mask in any of
            the folders becomes a volume of zeros, with a warning.

    Returns:
        The paths of the volumes, then of the table of their order.

    Raises:
        InputError: there is no folder, two have one name, one lacks a mask that others have, a mask cannot be read,
            is none, or has another size than the first, no lesion was predicted, or a file cannot be written.
        ValueError: an unknown lesion.
    """
    if not lesions or set(lesions) - set(OCTA_LESIONS):
        raise ValueError(f"lesions are some of {', '.join(OCTA_LESIONS)}, got {list(lesions)}")
    folders = _in_order(predictions, Path(output_dir))
    # all masks are read before anything is written
    masks = _read_masks(folders, lesions)
    found = next((volume for volume in masks.values() if volume is not None), None)
    if found is None:
        names = " nor ".join(f"{lesion}_mask.png" for lesion in lesions)
        raise InputError(f"{folders[0]} holds no {names}: name the folders that a prediction of OCTA images wrote.")
    paths = []
    for lesion, volume in masks.items():
        path = Path(output_dir) / f"{OCTA_LESIONS.index(lesion) + 1}.nii.gz"
        if volume is None:
            warnings.warn(f"{lesion} was not predicted for any image: {path} holds zeros only", stacklevel=2)
        _write_volume(path, np.zeros_like(found) if volume is None else volume)
        paths.append(path)
    order = Path(f"{Path(output_dir)}_order.csv")  # beside the folder, which is what is handed in
    table = pd.DataFrame({"index": range(len(folders)), "id": [folder.name for folder in folders]})
    with atomic_path(order) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")
    return [*paths, order]


def _in_order(predictions: Iterable[str | Path], output_dir: Path) -> list[Path]:
    folders = sorted(map(Path, predictions), key=lambda folder: natural_key(folder.name))
    if not folders:
        raise InputError(f"{output_dir} gets no volumes, no image was predicted: predict the test images first.")
    for folder, following in pairwise(folders):
        if folder.name == following.name:
            raise InputError(f"{folder} and {following} are both of image {folder.name}: give one of them.")
    return folders


def _read_masks(folders: Sequence[Path], lesions: Sequence[str]) -> dict[str, np.ndarray | None]:
    """Volume (N, H, W) uint8 of 0 and 1 for each lesion; None where no folder has a mask of it."""
    volumes: dict[str, np.ndarray | None] = {}
    size: tuple[int, ...] | None = None
    for lesion in lesions:
        files = [folder / f"{lesion}_mask.png" for folder in folders]
        absent = [file for file in files if not file.is_file()]
        if len(absent) == len(files):
            volumes[lesion] = None
            continue
        if absent:
            raise InputError(
                f"{absent[0]} is missing, though other images have this mask: predict image {absent[0].parent.name}"
                " again with the same checkpoints."
            )
        slices = []
        for file in files:
            mask = _read_mask(file)
            size = size or mask.shape
            if mask.shape != size:
                raise InputError(
                    f"{file} has {mask.shape[1]} × {mask.shape[0]} pixels (width × height), the mask before it"
                    f" {size[1]} × {size[0]}: a volume holds images of one size, leave image {file.parent.name} out."
                )
            slices.append(mask)
        volumes[lesion] = np.stack(slices)
    return volumes


def _read_mask(file: Path) -> np.ndarray:
    # not read_mask: a prediction may mark nothing, or everything
    image = decode_image(file, "mask")
    values = np.asarray(image)
    if image.mode != "L" or not np.isin(values, (0, 255)).all():
        raise InputError(f"{file} is no predicted mask of 8 bits with the values 0 and 255: predict the image again.")
    return (values == 255).astype(np.uint8)


def _write_volume(path: Path, volume: np.ndarray) -> None:
    image = nib.Nifti1Image(volume.T, LPS_AFFINE)
    encoded = io.BytesIO()
    # no name and no time of writing, so that the same masks give the same bytes
    with gzip.GzipFile(filename="", mode="wb", fileobj=encoded, mtime=0) as packed:
        packed.write(image.to_bytes())
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.getvalue())
