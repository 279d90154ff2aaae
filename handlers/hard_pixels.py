"""Which classes the hardest pixels of each epoch are of, as one CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pandas as pd
import torch
from ignite.engine import Engine, Events
from torch import nn

from tinylesions.datasets.atomic import atomic_path

__all__ = ["HardPixels"]


class HardPixels:
    """Add a row to a CSV after each epoch: how many of the chosen pixels were of each class, and their shares.

    Class imbalance paper (004), tables 3.1 and 4.14. The columns are ``epoch``, ``<class>_pixels`` of all processes,
    and ``<class>_share`` in [0, 1]. A training that goes on from a checkpoint keeps the rows of the epochs before and
    replaces the others; one that starts anew starts the file anew.

    A loss that chooses no pixels leaves nothing to count, and no file is written: so one config serves all sums of
    losses.

    Args:
        loss: the training's; what counts is each :class:`tinylesions.losses.OnlineBootstrappingLoss` in it, however
            deep it lies.
        class_names: of the classes that the loss tells apart: background and foreground for a network of one channel.
        path: the CSV.

    Raises:
        ValueError: at the first epoch's end, when the loss counted another number of classes.
    """

    def __init__(self, loss: nn.Module, class_names: Sequence[str], path: str | Path) -> None:
        # known by what it counts with, since handlers do not import the losses
        self.counters: list[Any] = [part for part in loss.modules() if hasattr(part, "chosen_counts")]
        self.class_names = list(class_names)
        self.path = Path(path)

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        if self.counters:
            engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the epoch's row."""
        counts = self._counts()
        if idist.get_rank() != 0:
            return
        pixels = {f"{name}_pixels": count for name, count in zip(self.class_names, counts, strict=True)}
        shares = {f"{name}_share": count / sum(counts) for name, count in zip(self.class_names, counts, strict=True)}
        rows = pd.DataFrame([{"epoch": engine.state.epoch, **pixels, **shares}])
        if engine.state.epoch > 1 and self.path.is_file():
            earlier = pd.read_csv(self.path)
            rows = pd.concat([earlier[earlier["epoch"] < engine.state.epoch], rows], ignore_index=True)
        with atomic_path(self.path) as temporary:
            rows.to_csv(temporary, index=False)

    def _reset(self, engine: Engine) -> None:
        for counter in self.counters:
            counter.reset_counts()

    def _counts(self) -> list[int]:
        """Return the chosen pixels of each class, of all processes in sum."""
        counts = torch.stack([counter.chosen_counts for counter in self.counters]).sum(0)
        if len(counts) != len(self.class_names):
            raise ValueError(
                f"The loss counted the pixels of {len(counts)} classes, but class_names are"
                f" {', '.join(self.class_names)}: name those that its network tells apart, two for one channel."
            )
        return torch.as_tensor(idist.all_reduce(counts)).tolist()
