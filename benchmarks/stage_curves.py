"""Draw what a two-stage training wrote: the loss of each iteration, and the scores of each validation.

    python -m benchmarks.stage_curves curves.png "two stages"=output "stage 2 loss only"=other/output

Each run is a title and its output folder, which holds TensorBoard's events and metrics.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

matplotlib.use("Agg")

from matplotlib import pyplot as plt

__all__ = ["draw"]

LOSSES = {"train_loss": "stage 1 loss", "stage_2_loss": "stage 2 loss"}
SMOOTHING = 0.05
"""Share of a stage's iterations that the running mean of its loss takes in."""


def losses(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The iterations of each stage, and the running mean of its loss around each."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    found = {}
    for tag, title in LOSSES.items():
        if tag in events.Tags()["scalars"]:
            steps, values = np.array([(event.step, event.value) for event in events.Scalars(tag)]).T
            kernel = np.ones(max(1, round(SMOOTHING * len(values))))
            found[title] = tuple(np.convolve(x, kernel / len(kernel), mode="valid") for x in (steps, values))
    return found


def draw(path: Path, runs: dict[str, Path], metrics: Sequence[str]) -> None:
    """Write a picture with a panel for the loss of each stage and one for the scores.

    Args:
        path: the PNG.
        runs: title of each run and its output folder.
        metrics: columns of metrics.csv; none leaves the panel of scores out.
    """
    curves = {title: losses(folder) for title, folder in runs.items()}
    stages = [stage for stage in LOSSES.values() if any(stage in own for own in curves.values())]
    titles = [*stages, *(["validation, photos of the network's size"] if metrics else [])]
    figure, axes = plt.subplots(1, len(titles), figsize=(4.3 * len(titles), 3.6), layout="constrained", squeeze=False)
    panels = dict(zip(titles, axes[0], strict=True))
    for style, (title, folder) in zip(cycle(("-", "--", ":", "-.")), runs.items(), strict=False):
        for stage, (steps, values) in curves[title].items():
            panels[stage].plot(steps, values, style, label=title)
        if metrics:
            table = pd.read_csv(folder / "metrics.csv")
        for index, name in enumerate(metrics):
            label = f"{title}: {name.removeprefix('reduced_').replace('_', ' ')}"
            panels[titles[-1]].plot(table["epoch"], table[name], style, color=f"C{index}", marker=".", label=label)
    for title, panel in panels.items():
        panel.set(title=title, xlabel="iteration" if title in stages else "epoch")
        if title not in stages:
            panel.set_ylim(bottom=0)
        panel.legend(fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="the PNG to write")
    parser.add_argument("runs", nargs="+", metavar="TITLE=FOLDER", help="output folders of trainings")
    parser.add_argument(
        "--metrics",
        nargs="*",
        default=["average_precision_microaneurysm", "average_precision_haemorrhage"],
        help="columns of metrics.csv, none for the losses alone",
    )
    options = parser.parse_args(arguments)
    runs = dict(run.split("=", 1) for run in options.runs)
    draw(options.path, {title: Path(folder) for title, folder in runs.items()}, options.metrics)


if __name__ == "__main__":
    main()
