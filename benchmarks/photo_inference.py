"""Inference of a fundus photo with UNet++ at the paper's width, against MONAI's SlidingWindowInferer.

    python -m benchmarks.photo_inference --quick

Each contender runs the same network on the same windows (64×64, overlap 0.5) in a process of its own. The quick size
is a piece of the photo in which the same share of the windows touches the field of view; seconds for the whole photo
follow from the number of windows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer

from benchmarks.measure import alone
from benchmarks.photos import fundus_photo, piece_of_same_share
from tinylesions.inferers import ForegroundSlidingWindowInferer
from tinylesions.inferers.window_plan import WindowPlan
from tinylesions.networks import VGG16UNetPlusPlus
from tinylesions.networks.vgg import VGG16_WIDTHS

__all__ = ["Task", "compare", "infer", "task"]

ROI_SIZE, OVERLAP = (64, 64), 0.5
QUICK_WINDOWS = (16, 24)

CONTENDERS: dict[str, dict[str, Any]] = {
    "MONAI SlidingWindowInferer, float32, 64 windows a pass": {"monai": True, "sw_batch_size": 64},
    "MONAI SlidingWindowInferer, float32, 12 windows a pass": {"monai": True, "sw_batch_size": 12},
    "MONAI SlidingWindowInferer, float32, 1 window a pass (as nnU-Net tiles)": {"monai": True, "sw_batch_size": 1},
    "TinyLesions, float32": {"precision": "float32"},
    "TinyLesions, auto": {"precision": "auto"},
}


def infer(
    photo: torch.Tensor,
    mask: torch.Tensor,
    monai: bool = False,
    widths: Sequence[int] = VGG16_WIDTHS,
    **options: Any,
) -> dict[str, Any]:
    """Probabilities of a photo (1, 3, H, W) and the seconds they took; a network of random weights, always the same."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = VGG16UNetPlusPlus(widths=widths).eval().to(device)
    photo, mask = photo.to(device), mask.to(device)
    kwargs: dict[str, Any] = {"overlap": OVERLAP, "mode": "gaussian"}
    if monai:
        inferer, foreground = SlidingWindowInferer(ROI_SIZE, **kwargs, **options), {}
    else:
        inferer, foreground = ForegroundSlidingWindowInferer(ROI_SIZE, **kwargs, **options), {"foreground": mask}
    with torch.inference_mode():
        inferer(photo[..., :96, :96], network)  # warm up
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        probabilities = torch.softmax(inferer(photo, network, **foreground), dim=1).cpu()
    return {"seconds": time.perf_counter() - start, "probabilities": probabilities}


@dataclass(frozen=True)
class Task:
    """A photo (1, 3, H, W) or a piece of it, its mask (1, H, W), and the windows of both the piece and the photo."""

    photo: torch.Tensor
    mask: torch.Tensor
    plan: WindowPlan
    whole_plan: WindowPlan

    def windows(self, monai: bool = False, **_: Any) -> tuple[int, int]:
        """How many windows a contender runs here, and how many on the whole photo."""
        here, whole = (plan.run.numel() if monai else plan.windows for plan in (self.plan, self.whole_plan))
        return here, whole


def task(quick: bool, whole: torch.Tensor, whole_mask: torch.Tensor) -> Task:
    """The whole photo, or the quick size's piece of it."""
    inferer = ForegroundSlidingWindowInferer(ROI_SIZE, overlap=OVERLAP)
    whole_plan = inferer.plan(whole, whole_mask)
    photo, mask = piece_of_same_share(whole, whole_mask, QUICK_WINDOWS, inferer) if quick else (whole, whole_mask)
    return Task(photo, mask, inferer.plan(photo, mask), whole_plan)


def compare(quick: bool) -> list[dict[str, Any]]:
    """Seconds, ratio and peak memory of each contender, and how far its probabilities are from MONAI's."""
    measured_on = task(quick, *fundus_photo())
    photo, mask = measured_on.photo, measured_on.mask
    rows: list[dict[str, Any]] = []
    reference = None
    for name, options in CONTENDERS.items():
        if quick and options.get("sw_batch_size") == 1:
            continue
        measured = alone(partial(infer, **options), photo, mask)
        probabilities, seconds = measured.value["probabilities"], measured.value["seconds"]
        reference = probabilities if reference is None else reference
        windows, whole_windows = measured_on.windows(**options)
        rows.append(
            {
                "contender": name,
                "windows": windows,
                "seconds": seconds,
                "seconds for 4288×2848": seconds * whole_windows / windows,
                "ratio": rows[0]["seconds"] / seconds if rows else 1.0,
                "difference": (probabilities - reference).abs().where(mask[:, None], 0).max().item(),
                "peak memory (MiB)": measured.peak_memory,
            }
        )
    return rows
