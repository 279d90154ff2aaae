"""Training windows per second, against MONAI's pipeline on the same photos.

    python -m benchmarks.training_windows --quick

Every contender has decoded the phantoms before the clock starts, and then gives batches of 64 windows of 64×64, flipped
and turned at random, as float32 in [0, 1] on the device that trains. MONAI's pipeline is given what makes it faster:
photos cached as uint8 without copies, indices of the classes cached, 16 windows a photo, plain tensors instead of
``MetaTensor`` in one of its rows; ratios are to its fastest row.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.data import CacheDataset, DataLoader, Dataset, set_track_meta
from monai.transforms import (
    ClassesToIndicesd,
    Compose,
    LoadImaged,
    RandCropByLabelClassesd,
    RandFlipd,
    RandRotate90d,
    ScaleIntensityRanged,
)
from PIL import Image
from torch.utils.data import RandomSampler

from benchmarks.measure import alone
from tinylesions.datasets.lesions import CLASSES, LESIONS
from tinylesions.datasets.phantoms import draw_fundus
from tinylesions.transforms import (
    CachedWindowLoader,
    SlidingWindowPatchesd,
    field_of_view_mask,
    lesion_masks_to_label_map,
)

__all__ = ["compare"]

FULL, QUICK = (6, (2848, 4288)), (4, (712, 1072))
"""Number and size of the photos."""
WINDOW, BATCH, WINDOWS_PER_PHOTO = 64, 64, 16
SECONDS, REPEATS = 2.0, 3
KEYS = ("image", "label")
MANY = 10**6  # draws of an epoch, so that none ends while the clock runs

Files = list[dict[str, Path]]


def _write_photos(folder: Path, count: int, size: tuple[int, int]) -> Files:
    """Phantoms of grade 3, which have all four lesions, and their label maps."""
    files = []
    for seed in range(count):
        phantom = draw_fundus(seed, size, grade=3)
        absent = np.zeros(size, bool)
        masks = np.stack([phantom.masks.get(lesion, absent) for lesion in LESIONS])
        view = field_of_view_mask(phantom.photo.transpose(2, 0, 1))
        label_map = lesion_masks_to_label_map(torch.from_numpy(masks), torch.from_numpy(view[None]))
        item = {key: folder / f"{key}_{seed}.png" for key in KEYS}
        Image.fromarray(phantom.photo).save(item["image"], compress_level=1)
        Image.fromarray(label_map[0].numpy()).save(item["label"], compress_level=1)
        files.append(item)
    return files


def _photos(files: Files) -> Iterator[dict[Any, torch.Tensor]]:
    for item in files:
        image, label = (np.array(Image.open(item[key])) for key in KEYS)
        yield {"image": torch.from_numpy(image.transpose(2, 0, 1).copy()), "label": torch.from_numpy(label[None])}


def _augmentation() -> list[Any]:
    return [
        RandFlipd(KEYS, prob=0.5, spatial_axis=0),
        RandFlipd(KEYS, prob=0.5, spatial_axis=1),
        RandRotate90d(KEYS, prob=0.75, max_k=3),
        ScaleIntensityRanged("image", a_min=0, a_max=255, b_min=0.0, b_max=1.0),
    ]


def monai_crops(files: Files, device: torch.device, workers: int = 0, track_meta: bool = True) -> Iterable[Any]:
    """LoadImaged, cached → RandCropByLabelClassesd of cached indices → flips and turns → DataLoader."""
    set_track_meta(track_meta)
    classes = len(CLASSES)
    lesions = [float(name in LESIONS) for name in CLASSES]
    crop = RandCropByLabelClassesd(
        KEYS, "label", WINDOW, lesions, classes, WINDOWS_PER_PHOTO, indices_key="label_cls_indices"
    )
    load = LoadImaged(KEYS, reader="PILReader", ensure_channel_first=True, dtype=np.uint8)
    transforms = [load, ClassesToIndicesd("label", num_classes=classes), crop, *_augmentation()]
    dataset = CacheDataset(files, Compose(transforms), copy_cache=False, progress=False)
    sampler = RandomSampler(dataset, replacement=True, num_samples=MANY)
    return DataLoader(dataset, batch_size=BATCH // WINDOWS_PER_PHOTO, sampler=sampler, num_workers=workers)


def plain_windows(files: Files, device: torch.device, workers: int = 0) -> Iterable[Any]:
    """SlidingWindowPatchesd's windows in memory → flips and turns → DataLoader."""
    cut = SlidingWindowPatchesd(KEYS, WINDOW)
    windows = [window for photo in _photos(files) for window in cut(photo)]
    dataset = Dataset(windows, Compose(_augmentation()))
    sampler = RandomSampler(dataset, replacement=True, num_samples=MANY)
    return DataLoader(dataset, batch_size=BATCH, sampler=sampler, num_workers=workers)


def cached_windows(files: Files, device: torch.device) -> Iterable[Any]:
    """The fast cutter."""
    return CachedWindowLoader(_photos(files), WINDOW, batch_size=BATCH, device=device)


def _contenders() -> dict[str, tuple[Callable[..., Iterable[Any]], dict[str, Any]]]:
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "MONAI RandCropByLabelClassesd": (monai_crops, {}),
        "MONAI RandCropByLabelClassesd, plain tensors": (monai_crops, {"track_meta": False}),
        f"MONAI RandCropByLabelClassesd, plain tensors, {workers} workers": (
            monai_crops,
            {"track_meta": False, "workers": workers},
        ),
        "SlidingWindowPatchesd": (plain_windows, {}),
        f"SlidingWindowPatchesd, {workers} workers": (plain_windows, {"workers": workers}),
        "TinyLesions CachedWindowLoader": (cached_windows, {}),
    }


def _windows_per_second(make: Callable[..., Iterable[Any]], options: dict[str, Any], files: Files) -> float:
    """The best of some seconds each."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = make(files, device, **options)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    rates = []
    next(batches)  # warm up
    for _ in range(REPEATS):
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            batch = next(batches)
            image, label = (batch[key].to(device, non_blocking=True) for key in KEYS)
            assert tuple(image.shape) == (len(label), 3, WINDOW, WINDOW)
            count += len(image)
        if device.type == "cuda":
            torch.cuda.synchronize()
        rates.append(count / (time.perf_counter() - start))
    return max(rates)


def compare(quick: bool) -> list[dict[str, Any]]:
    """Windows per second, ratio to MONAI's fastest and peak memory of each contender."""
    with tempfile.TemporaryDirectory() as folder:
        files = alone(_write_photos, Path(folder), *(QUICK if quick else FULL)).value
        measured = {
            name: alone(_windows_per_second, make, options, files) for name, (make, options) in _contenders().items()
        }
    monai = max(measurement.value for name, measurement in measured.items() if name.startswith("MONAI"))
    return [
        {
            "contender": name,
            "windows per second": measurement.value,
            "ratio": measurement.value / monai,
            "peak memory (MiB)": measurement.peak_memory,
        }
        for name, measurement in measured.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"photos of {QUICK[1]} instead of {FULL[1]} pixels")
    print(pd.DataFrame(compare(parser.parse_args().quick)).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
