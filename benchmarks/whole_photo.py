"""A whole photo in one pass of Red-Seg against the windows of UNet++, both at the papers' widths.

    python -m benchmarks.whole_photo --quick

Red-Seg's photo of 4288×2848 is shrunk to 1072×712, scaled, run in one pass, and its probabilities are brought back to
the full size: the bundle's own steps, the median of some photos. UNet++ runs on windows of 64×64, overlap 0.5, which
are 11 704 on such a photo, fewer where those outside the field of view are skipped; cutting and stitching them counts
as the network. The quick size runs Red-Seg whole and a piece of the windows: seconds follow from their number, peak
memory is the piece's. Each ratio is to Red-Seg in the same precision; each contender has a process of its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from monai.data import MetaTensor
from monai.transforms import Activationsd, Compose, Invertd
from monai.utils import convert_to_tensor

from benchmarks import photo_inference
from benchmarks.measure import alone
from benchmarks.photos import FULL_SIZE, fundus_photo
from benchmarks.training_step import bundle_config
from tinylesions.networks.vgg import VGG16_WIDTHS
from tinylesions.transforms import ResizeLongestSided

__all__ = ["compare"]

REPEATS = 3

ONE_PASS: dict[str, str] = {
    "Red-Seg, one pass, float32": "float32",
    "Red-Seg, one pass, auto": "auto",
}
WINDOWS: dict[str, dict[str, Any]] = {
    "UNet++, MONAI, float32": {"monai": True, "sw_batch_size": 12},
    "UNet++, TinyLesions, float32": {"precision": "float32"},
    "UNet++, TinyLesions, auto": {"precision": "auto"},
}


def infer(
    photo: torch.Tensor,
    precision: str = "auto",
    widths: Sequence[int] = VGG16_WIDTHS,
    longest_side: int | None = None,
    repeats: int = REPEATS,
) -> dict[str, Any]:
    """Probabilities (K, H, W) of a photo (3, H, W) uint8, and the seconds of the pass and of all, of the median photo.

    The network has random weights, always the same. `longest_side` is the bundle's unless it is given.
    """
    torch.manual_seed(0)
    parser = bundle_config(widths=list(widths), precision=precision)
    network, inferer = (parser.get_parsed_content(name) for name in ("network", "validate#inferer"))
    network.eval()
    device = parser.get_parsed_content("device")
    side = longest_side or parser.get_parsed_content("longest_side")
    scaling = parser.get_parsed_content("train#scaling")
    before = Compose([ResizeLongestSided("image", side, mode="area"), scaling])
    after = Compose(
        [
            Activationsd("pred", sigmoid=True),
            Invertd("pred", before, orig_keys="image", nearest_interp=False),
        ]
    )
    timed: list[tuple[float, float]] = []
    with torch.inference_mode():
        inferer(torch.zeros(1, 3, 96, 96, device=device), network)  # warm up, as for the windows
        for _ in range(repeats):
            start = _now(device)
            item = before({"image": MetaTensor(photo)})
            item["image"] = item["image"].to(device)
            begin = _now(device)
            item["pred"] = inferer(item["image"][None], network)[0]
            network_seconds = _now(device) - begin
            probabilities = after(item)["pred"].cpu()
            timed.append((_now(device) - start, network_seconds))
    seconds, network_seconds = sorted(timed)[len(timed) // 2]
    probabilities = convert_to_tensor(probabilities, track_meta=False)
    return {"network": network_seconds, "seconds": seconds, "probabilities": probabilities}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _without_map(*args: Any, **options: Any) -> dict[str, Any]:
    """`infer`, whose map of a whole photo need not travel back."""
    return {name: value for name, value in infer(*args, **options).items() if name != "probabilities"}


def compare(
    quick: bool,
    size: tuple[int, int] = FULL_SIZE,
    longest_side: int | None = None,
    widths: Sequence[int] = VGG16_WIDTHS,
) -> list[dict[str, Any]]:
    """Seconds for the photo, ratio to Red-Seg and peak memory of each contender."""
    whole, mask = fundus_photo(size)
    photo = (whole[0] * 255).round().to(torch.uint8)
    task = photo_inference.task(quick, whole, mask)
    rows = []
    for name, precision in ONE_PASS.items():
        function = partial(_without_map, precision=precision, widths=widths, longest_side=longest_side)
        measured = alone(function, photo)
        seconds = (measured.value["network"], measured.value["seconds"])
        rows.append(_row(name, size, (1, 1), *seconds, measured.peak_memory))
    reference = {precision: row[_whole(size)] for row, precision in zip(rows, ONE_PASS.values(), strict=True)}
    for name, options in WINDOWS.items():
        measured = alone(partial(photo_inference.infer, widths=widths, **options), task.photo, task.mask)
        run, windows = task.windows(**options)
        seconds = measured.value["seconds"] * windows / run
        row = _row(name, size, (windows, run), seconds, seconds, measured.peak_memory)
        rows.append({**row, "ratio to Red-Seg": seconds / reference[options.get("precision", "float32")]})
    return rows


def _row(
    name: str, size: tuple[int, int], passes: tuple[int, int], network: float, seconds: float, peak_memory: float
) -> dict[str, Any]:
    return {
        "contender": name,
        "passes": passes[0],
        "run here": passes[1],
        "seconds, network": network,
        "seconds, other steps": seconds - network,
        _whole(size): seconds,
        "ratio to Red-Seg": 1.0,
        "peak memory (MiB)": peak_memory,
    }


def _whole(size: tuple[int, int]) -> str:
    return f"seconds for {size[1]}×{size[0]}"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a piece of the windows")
    print(pd.DataFrame(compare(parser.parse_args().quick)).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
