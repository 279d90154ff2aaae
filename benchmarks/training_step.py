"""What one optimisation step of Red-Seg costs at 1072×712 and the paper's width, and which part of it is what.

    python -m benchmarks.training_step --quick

Network, losses, optimisers and inferer are the bundle's own, batch 1, on a drawn photo. Each step is timed in its
parts; what is reported is the step of median length. "Negatives" is the choice of the hardest negatives, forward and
backward, which is a part of loss and backward; "share" is its part of the step.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from monai.bundle import ConfigParser
from monai.utils import convert_to_tensor

from benchmarks.measure import alone
from tinylesions.datasets.phantoms import draw_fundus
from tinylesions.handlers import keep_freed_memory
from tinylesions.monai_bundles import BUNDLES
from tinylesions.networks.vgg import VGG16_WIDTHS

__all__ = ["compare"]

SIZE = (712, 1072)
STEPS, QUICK_STEPS = (2, 10), (1, 3)
"""How many warm up, and how many are measured."""

CONTENDERS: dict[str, dict[str, Any]] = {
    "stage 1, float32": {"stage": 1, "precision": "float32"},
    "stage 1, bf16": {"stage": 1, "precision": "bf16"},
    "stage 2, float32": {"stage": 2, "precision": "float32"},
    "stage 2, bf16": {"stage": 2, "precision": "bf16"},
}
STAGES = {1: ("train#loss", "optimizer"), 2: ("stage_2#loss", "stage_2_optimizer")}
CHOICE = ("masked_fill", "topk")
"""The tensor methods by which the loss of stage 1 chooses its negatives."""


@dataclass(frozen=True)
class Step:
    """Seconds of a step's parts; `negatives` lies in `loss` and `backward`."""

    forward: float
    loss: float
    backward: float
    optimiser: float
    negatives: float

    @property
    def total(self) -> float:
        return self.forward + self.loss + self.backward + self.optimiser


def bundle_config(**overrides: Any) -> ConfigParser:
    """Red-Seg's train.json, of which only what is asked for gets built."""
    bundle = BUNDLES["fundus_red_lesion_segmentation"]
    parser = ConfigParser(ConfigParser.load_config_file(bundle.config_files("train")[0]))
    parser.update(overrides)
    return parser


def example(size: tuple[int, int], parser: ConfigParser) -> tuple[torch.Tensor, torch.Tensor]:
    """A drawn photo (1, 3, H, W) float32, scaled as the bundle does, and its masks (1, K, H, W) uint8."""
    phantom = draw_fundus(0, size, 3)
    absent = np.zeros(size, bool)
    masks = np.stack([phantom.masks.get(lesion, absent) for lesion in parser.get_parsed_content("lesions")])
    photo = torch.from_numpy(phantom.photo).permute(2, 0, 1).float()
    scaled = parser.get_parsed_content("train#scaling")({"image": photo})["image"]
    return convert_to_tensor(scaled, track_meta=False)[None], torch.from_numpy(masks.astype(np.uint8))[None]


def steps(
    stage: int, precision: str, size: tuple[int, int], widths: Sequence[int], warm_up: int, measured: int
) -> list[Step]:
    """Train for some steps, and time them but for the first.

    Raises:
        RuntimeError: stage 1 chose no negatives by `CHOICE`, so that nothing is known about the choice.
    """
    keep_freed_memory()  # as the bundle's training does
    torch.manual_seed(0)
    parser = bundle_config(widths=list(widths), precision=precision)
    loss_id, optimiser_id = STAGES[stage]
    loss_function, optimiser = (parser.get_parsed_content(name) for name in (loss_id, optimiser_id))
    network, inferer = (parser.get_parsed_content(name) for name in ("network", "train#inferer"))
    device = parser.get_parsed_content("device")
    image, target = (tensor.to(device) for tensor in example(size, parser))
    network.train()

    def one_step() -> Step:
        ticks = [_now(device)]
        optimiser.zero_grad()
        logits = inferer(image, network)
        ticks.append(_now(device))
        with _timed_methods(CHOICE, lambda: _now(device)) as seconds:
            loss = loss_function(logits, target)
        ticks.append(_now(device))
        loss.backward()
        ticks.append(_now(device))
        optimiser.step()
        ticks.append(_now(device))
        if stage == 1 and not seconds:
            raise RuntimeError(f"the loss calls none of {', '.join(CHOICE)} any more: name what it chooses with.")
        forward, loss_forward, backward, update = np.diff(ticks).tolist()
        return Step(forward, loss_forward, backward, update, negatives=sum(seconds))

    return [one_step() for _ in range(warm_up + measured)][warm_up:]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def _timed_methods(names: Sequence[str], now: Callable[[], float]) -> Iterator[list[float]]:
    """Collect the seconds of calls of a tensor's methods, and of their backward passes, also after the block."""
    seconds: list[float] = []

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = now()
            result = method(*args, **kwargs)
            seconds.append(now() - start)
            node = (result if isinstance(result, torch.Tensor) else result[0]).grad_fn
            if node is not None:
                starts: list[float] = []
                node.register_prehook(lambda _: starts.append(now()))
                node.register_hook(lambda *_: seconds.append(now() - starts.pop()))
            return result

        return call

    with ExitStack() as patches:
        for name in names:
            patches.enter_context(mock.patch.object(torch.Tensor, name, timed(getattr(torch.Tensor, name))))
        yield seconds


def compare(quick: bool, size: tuple[int, int] = SIZE, widths: Sequence[int] = VGG16_WIDTHS) -> list[dict[str, Any]]:
    """Seconds of a step and its parts, the share of the choice of the negatives, and peak memory."""
    rows = []
    for name, options in CONTENDERS.items():
        warm_up, measured = QUICK_STEPS if quick else STEPS
        measurement = alone(steps, options["stage"], options["precision"], size, tuple(widths), warm_up, measured)
        timed: list[Step] = sorted(measurement.value, key=lambda step: step.total)
        median = timed[len(timed) // 2]
        rows.append(
            {
                "step": name,
                "steps": len(timed),
                **{f"{field.name} (s)": getattr(median, field.name) for field in fields(Step)},
                "share (%)": 100 * median.negatives / median.total,
                "step (s)": median.total,
                "slowest (s)": timed[-1].total,
                "peak memory (MiB)": measurement.peak_memory,
            }
        )
    return rows


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STEPS[1]} steps instead of {STEPS[1]}")
    print(pd.DataFrame(compare(parser.parse_args().quick)).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
