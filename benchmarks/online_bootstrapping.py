"""What the choice of the hardest pixels costs a training step on tiles of nuclei.

    python -m benchmarks.online_bootstrapping --quick

Forward and backward of the loss to its logits beside forward and backward of the network, step by step in one process;
the medians, and the loss's share of both. Logits, losses and steps are those of random tiles: the cost does not depend
on what they show. "Choice" is `topk` of the pixels' losses, as the loss has it, and "sort" what it would be with all
of them in order.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import pandas as pd
import torch
from monai.networks.nets import AttentionUnet
from torch import nn

from benchmarks.measure import alone
from tinylesions.losses import CrossEntropyLoss, OnlineBootstrappingLoss
from tinylesions.networks import DeepLabV3Plus

__all__ = ["compare"]

CLASSES, SIZE, BATCH = 7, 256, 8
STEPS, QUICK_STEPS = (2, 10), (1, 3)
"""How many warm up, and how many are measured."""

SMALL = "attention U-Net, 16 to 128 channels"
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    SMALL: lambda: AttentionUnet(2, 3, CLASSES, channels=(16, 32, 64, 128), strides=(2, 2, 2)),
    "attention U-Net, 64 to 1024 channels": lambda: AttentionUnet(
        2, 3, CLASSES, channels=(64, 128, 256, 512, 1024), strides=(2, 2, 2, 2)
    ),
    "DeepLabv3+ on ResNet-101": lambda: DeepLabV3Plus(3, CLASSES),
}
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "cross-entropy": CrossEntropyLoss,
    "512 hardest pixels": lambda: OnlineBootstrappingLoss(512),
    "4096 hardest pixels": lambda: OnlineBootstrappingLoss(4096),
}


def seconds(network_name: str, size: int, batch: int, warm_up: int, measured: int) -> dict[str, dict[str, float]]:
    """Median seconds of the network, and of each loss and its choice, side by side in every step."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = NETWORKS[network_name]().to(device).train()
    losses = {name: make() for name, make in LOSSES.items()}
    images = torch.rand(batch, 3, size, size, device=device)
    labels = torch.randint(0, CLASSES, (batch, 1, size, size), device=device, dtype=torch.uint8)
    times: dict[str, dict[str, list[float]]] = {name: {"loss": [], "choice": [], "sort": []} for name in losses}
    network_times: list[float] = []

    def timed(work: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[float, Any]:
        _wait(device)
        start = time.perf_counter()
        result = work(*arguments, **options)
        _wait(device)
        return time.perf_counter() - start, result

    def loss_step(loss: nn.Module, logits: torch.Tensor) -> torch.Tensor:
        leaf = logits.detach().requires_grad_()
        return torch.autograd.grad(loss(leaf, labels), leaf)[0]

    for _ in range(warm_up + measured):
        network.zero_grad()
        forward, logits = timed(network, images)
        pixels = nn.functional.cross_entropy(logits.detach(), labels[:, 0].long(), reduction="none").flatten(1)
        for name, loss in losses.items():
            spent, gradient = timed(loss_step, loss, logits)
            times[name]["loss"].append(spent)
            if isinstance(loss, OnlineBootstrappingLoss):
                number = min(loss.hard_pixels, pixels.shape[1])
                times[name]["choice"].append(timed(pixels.topk, number, sorted=False)[0])
                times[name]["sort"].append(timed(pixels.sort, descending=True)[0])
        backward, _ = timed(logits.backward, gradient)
        network_times.append(forward + backward)
    result = {
        name: {part: median(values[warm_up:]) if values else 0.0 for part, values in parts.items()}
        for name, parts in times.items()
    }
    return {"network": {"network": median(network_times[warm_up:])}, **result}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(
    quick: bool, size: int = SIZE, batch: int = BATCH, networks: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Milliseconds of each loss and of each network, and the loss's share of the step in per cent.

    Of the networks the smallest alone when it must be quick: it is the one beside which a loss costs most.
    """
    rows = []
    for network in networks or ([SMALL] if quick else list(NETWORKS)):
        warm_up, measured = QUICK_STEPS if quick else STEPS
        timed = alone(seconds, network, size, batch, warm_up, measured).value
        step = timed["network"]["network"]
        rows += [
            {
                "network": network,
                "loss": name,
                "network (ms)": 1000 * step,
                **{f"{part} (ms)": 1000 * value for part, value in timed[name].items()},
                "share (%)": 100 * timed[name]["loss"] / (timed[name]["loss"] + step),
            }
            for name in LOSSES
        ]
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STEPS[1]} steps, and the smallest network alone")
    options = parser.parse_args(arguments)
    print(pd.DataFrame(compare(options.quick)).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
