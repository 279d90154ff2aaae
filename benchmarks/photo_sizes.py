"""What inference costs as photos grow and windows overlap more, and in the fast mode.

    python -m benchmarks.photo_sizes --quick

The quick size runs the small network of the cpu preset, so that what is measured is close to the cost of cutting and
stitching; the full one runs the paper's width.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.measure import alone
from benchmarks.photos import fundus_photo
from tinylesions.inferers import ForegroundSlidingWindowInferer
from tinylesions.networks import VGG16UNetPlusPlus

__all__ = ["compare"]

SIZES = {"1 Mpx": (816, 1228), "3 Mpx": (1424, 2144), "12 Mpx": (2848, 4288), "24 Mpx": (4024, 6060)}
OVERLAPS = (0.0, 0.25, 0.5, 0.75)
CPU_WIDTHS = (8, 16, 24, 32, 32)
PAPER_WIDTHS = (64, 128, 256, 512, 512)


def _infer(size: tuple[int, int], overlap: float, fast: bool, widths: tuple[int, ...]) -> tuple[float, int]:
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = VGG16UNetPlusPlus(widths=widths).eval().to(device)
    photo, mask = (tensor.to(device) for tensor in fundus_photo(size))
    inferer = ForegroundSlidingWindowInferer((64, 64), overlap=overlap, mode="gaussian", fast=fast)
    inferer(photo[..., :96, :96], network)  # warm up
    start = time.perf_counter()
    inferer(photo, network, foreground=mask).cpu()
    return time.perf_counter() - start, inferer.plan(photo, mask).windows


def compare(quick: bool) -> list[dict[str, Any]]:
    """Seconds, seconds a megapixel and peak memory against the photo's size and the overlap."""
    widths = CPU_WIDTHS if quick else PAPER_WIDTHS
    cases = [(name, 0.5, False) for name in SIZES] + [
        ("3 Mpx", overlap, False) for overlap in OVERLAPS if overlap != 0.5
    ]
    cases += [(name, 0.5, True) for name in SIZES]
    rows = []
    for name, overlap, fast in cases:
        measured = alone(_infer, SIZES[name], overlap, fast, widths)
        seconds, windows = measured.value
        height, width = SIZES[name]
        rows.append(
            {
                "photo": f"{name}, {width}×{height}",
                "overlap": "fast mode" if fast else str(overlap),
                "windows": windows,
                "seconds": seconds,
                "seconds a megapixel": seconds / (height * width / 1e6),
                "peak memory (MiB)": measured.peak_memory,
            }
        )
    return rows
