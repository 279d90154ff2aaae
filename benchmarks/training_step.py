"""What one optimisation step costs at the paper's size and width, and which part of it is what.

    python -m benchmarks.training_step --quick --bundle fundus_red_lesion_segmentation

Network, losses, optimisers and inferer are the bundle's own, on drawn images. Each step is timed in its parts; what is
reported is the step of median length. "Negatives" is Red-Seg's choice of the hardest negatives, forward and backward,
which is a part of loss and backward; "share" is its part of the step. "Loss share" is the part of the whole loss,
forward and backward to the logits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from unittest import mock

import numpy as np
import pandas as pd
import torch
from monai.bundle import ConfigParser
from monai.utils import convert_to_tensor

from benchmarks.measure import alone
from tinylesions.datasets import LESIONS, OCTA_LESIONS
from tinylesions.datasets.phantoms import FundusPhantom, OctaPhantom, draw_fundus, draw_octa
from tinylesions.handlers import keep_freed_memory
from tinylesions.monai_bundles import BUNDLES
from tinylesions.transforms import lesion_masks_to_label_map

__all__ = ["compare"]

Target = torch.Tensor | dict[str, torch.Tensor]
Phantom: TypeAlias = FundusPhantom | OctaPhantom
Draw = Callable[[int, tuple[int, int]], Phantom]

STEPS, QUICK_STEPS = (2, 10), (1, 3)
"""How many warm up, and how many are measured."""

RED_SEG = "fundus_red_lesion_segmentation"
GRADING = "fundus_dr_grading_segmentation"
OCTA = "octa_dr_lesion_segmentation"


@dataclass(frozen=True)
class Contender:
    """A step to be timed: parts of a bundle's train.json by their ids.

    `choice` has the tensor methods by which the loss chooses its negatives, if it does.
    """

    bundle: str
    precision: str
    size: tuple[int, int]
    batch_size: int = 1
    loss: str = "train#loss"
    optimiser: str = "optimizer"
    choice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """Seconds of a step's parts; `negatives` lies in `loss` and `backward`, `loss_backward` in `backward`."""

    forward: float
    loss: float
    backward: float
    optimiser: float
    negatives: float
    loss_backward: float

    @property
    def total(self) -> float:
        return self.forward + self.loss + self.backward + self.optimiser


PRINTED_PARTS = ("forward", "loss", "backward", "optimiser", "negatives")

RED_SEG_SIZE, GRADING_SIZE, OCTA_SIZE = (712, 1072), (512, 512), (1024, 1024)
STAGE_1: dict[str, Any] = {"choice": ("masked_fill", "topk")}
STAGE_2: dict[str, Any] = {"loss": "stage_2#loss", "optimiser": "stage_2_optimizer"}

CONTENDERS = {
    "stage 1, float32": Contender(RED_SEG, "float32", RED_SEG_SIZE, **STAGE_1),
    "stage 1, bf16": Contender(RED_SEG, "bf16", RED_SEG_SIZE, **STAGE_1),
    "stage 2, float32": Contender(RED_SEG, "float32", RED_SEG_SIZE, **STAGE_2),
    "stage 2, bf16": Contender(RED_SEG, "bf16", RED_SEG_SIZE, **STAGE_2),
    "grading + segmentation, 512×512, batch 2, float32": Contender(GRADING, "float32", GRADING_SIZE, batch_size=2),
    "grading + segmentation, 512×512, batch 2, bf16": Contender(GRADING, "bf16", GRADING_SIZE, batch_size=2),
    "UNet++ with attention, 1024×1024, batch 1, float32": Contender(OCTA, "float32", OCTA_SIZE),
    "UNet++ with attention, 1024×1024, batch 1, bf16": Contender(OCTA, "bf16", OCTA_SIZE),
}


def bundle_config(bundle: str = RED_SEG, **overrides: Any) -> ConfigParser:
    """A bundle's train.json, of which only what is asked for gets built."""
    parser = ConfigParser(ConfigParser.load_config_file(BUNDLES[bundle].config_files("train")[0]))
    parser.update(overrides)
    return parser


def fundus_photo(seed: int, size: tuple[int, int]) -> FundusPhantom:
    """A photo that holds every lesion."""
    return draw_fundus(seed, size, grade=3)


def octa_image(seed: int, size: tuple[int, int]) -> OctaPhantom:
    """An image that holds every lesion."""
    return draw_octa(size, seed, OCTA_LESIONS)


def masks_example(phantoms: Sequence[Phantom], parser: ConfigParser) -> torch.Tensor:
    """The target of Red-Seg and of OCTA lesions: masks (N, K, H, W) uint8 of the bundle's lesions."""
    return _masks(phantoms, parser.get_parsed_content("lesions"))


def tasks_example(phantoms: Sequence[Phantom], parser: ConfigParser) -> dict[str, torch.Tensor]:
    """The target of grading and segmentation: grades (N,) and label maps (N, 1, H, W), all of them true."""
    label_maps = torch.stack([lesion_masks_to_label_map(masks, None) for masks in _masks(phantoms, LESIONS)])
    weight = torch.ones(len(phantoms))
    grades = torch.tensor([phantom.grade for phantom in phantoms if isinstance(phantom, FundusPhantom)])
    return {"grade": grades, "grade_weight": weight, "segmentation": label_maps, "segmentation_weight": weight}


def _masks(phantoms: Sequence[Phantom], lesions: Sequence[str]) -> torch.Tensor:
    absent = np.zeros(_channels(phantoms[0]).shape[1:], bool)
    masks = np.stack([[phantom.masks.get(lesion, absent) for lesion in lesions] for phantom in phantoms])
    return torch.from_numpy(masks.astype(np.uint8))


def _channels(phantom: Phantom) -> np.ndarray:
    """The image of a phantom, uint8 (C, H, W)."""
    return phantom.image[None] if isinstance(phantom, OctaPhantom) else phantom.photo.transpose(2, 0, 1)


EXAMPLES: dict[str, tuple[Draw, Callable[[Sequence[Phantom], ConfigParser], Target]]] = {
    RED_SEG: (fundus_photo, masks_example),
    GRADING: (fundus_photo, tasks_example),
    OCTA: (octa_image, masks_example),
}
"""How a bundle's phantoms are drawn, and what becomes of them the target of its loss."""


def example(
    bundle: str, size: tuple[int, int], parser: ConfigParser, batch_size: int = 1
) -> tuple[torch.Tensor, Target]:
    """Drawn images (N, C, H, W) float32, scaled as the bundle does, and the target of its loss."""
    draw, target = EXAMPLES[bundle]
    phantoms = [draw(seed, size) for seed in range(batch_size)]
    scaling = parser.get_parsed_content("train#scaling")
    scaled = [scaling({"image": torch.from_numpy(_channels(phantom)).float()}) for phantom in phantoms]
    images = torch.stack([convert_to_tensor(item["image"], track_meta=False) for item in scaled])
    return images, target(phantoms, parser)


def steps(
    contender: Contender, size: tuple[int, int], widths: Sequence[int] | None, warm_up: int, measured: int
) -> list[Step]:
    """Train for some steps, and time them but for the first.

    `widths` are the bundle's own where they are None.

    Raises:
        RuntimeError: the loss chose no negatives by `choice`, so that nothing is known about the choice.
    """
    keep_freed_memory()  # as the bundle's training does
    torch.manual_seed(0)
    overrides = {} if widths is None else {"widths": list(widths)}
    parser = bundle_config(contender.bundle, precision=contender.precision, **overrides)
    loss_function, optimiser = (parser.get_parsed_content(name) for name in (contender.loss, contender.optimiser))
    network, inferer = (parser.get_parsed_content(name) for name in ("network", "train#inferer"))
    device = parser.get_parsed_content("device")
    images, target = example(contender.bundle, size, parser, contender.batch_size)
    images, target = images.to(device), _on(device, target)
    network.train()

    def one_step() -> Step:
        ticks = [_now(device)]
        optimiser.zero_grad()
        logits = inferer(images, network)
        ticks.append(_now(device))
        outputs = [logits] if isinstance(logits, torch.Tensor) else list(logits.values())
        leaves = [output.detach().requires_grad_() for output in outputs]  # backward stops here, so that it is timed
        answer = leaves[0] if isinstance(logits, torch.Tensor) else dict(zip(logits, leaves, strict=True))
        with _timed_methods(contender.choice, lambda: _now(device)) as seconds:
            loss = loss_function(answer, target)
        ticks.append(_now(device))
        loss.backward()
        ticks.append(_now(device))
        torch.autograd.backward(outputs, [leaf.grad for leaf in leaves])
        ticks.append(_now(device))
        optimiser.step()
        ticks.append(_now(device))
        if contender.choice and not seconds:
            raise RuntimeError(f"the loss calls none of {', '.join(contender.choice)} any more: name what it uses.")
        forward, loss_forward, loss_backward, backward, update = np.diff(ticks).tolist()
        return Step(forward, loss_forward, loss_backward + backward, update, sum(seconds), loss_backward)

    return [one_step() for _ in range(warm_up + measured)][warm_up:]


def _on(device: torch.device, target: Target) -> Target:
    if isinstance(target, torch.Tensor):
        return target.to(device)
    return {name: tensor.to(device) for name, tensor in target.items()}


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


def compare(
    quick: bool,
    size: tuple[int, int] | None = None,
    widths: Sequence[int] | None = None,
    bundles: Sequence[str] = tuple(EXAMPLES),
) -> list[dict[str, Any]]:
    """Seconds of a step and its parts, the shares of the choice of the negatives and of the loss, and peak memory.

    Each bundle has the paper's size of images and its own widths unless they are given.
    """
    rows = []
    for name, contender in CONTENDERS.items():
        if contender.bundle not in bundles:
            continue
        warm_up, measured = QUICK_STEPS if quick else STEPS
        measurement = alone(steps, contender, size or contender.size, widths, warm_up, measured)
        timed: list[Step] = sorted(measurement.value, key=lambda step: step.total)
        median = timed[len(timed) // 2]
        rows.append(
            {
                "step": name,
                "steps": len(timed),
                **{f"{part} (s)": getattr(median, part) for part in PRINTED_PARTS},
                "share (%)": 100 * median.negatives / median.total,
                "loss share (%)": 100 * (median.loss + median.loss_backward) / median.total,
                "step (s)": median.total,
                "slowest (s)": timed[-1].total,
                "peak memory (MiB)": measurement.peak_memory,
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STEPS[1]} steps instead of {STEPS[1]}")
    parser.add_argument("--bundle", choices=EXAMPLES, help="the bundle whose steps are timed; all, if none is named")
    options = parser.parse_args(arguments)
    bundles = [options.bundle] if options.bundle else list(EXAMPLES)
    print(pd.DataFrame(compare(options.quick, bundles=bundles)).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
