"""A network whose weights are the moving average of those in training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["ExponentialMovingAverage"]


class ExponentialMovingAverage:
    """Average a network's weights while it is trained; the average is often the better network.

    torch's ``AveragedModel``, updated after each iteration. The first update copies; after n of them the average keeps
    the share min(`decay`, (1 + n) / (10 + n)) of itself, so that a short training is not held back by its start.
    Parameters and float buffers are averaged, other buffers copied.

    Validate and save `ema_network`, which has the names of the network's own weights. For a training that can go on,
    the handler is one of the objects of :class:`~tinylesions.handlers.TrainingCheckpoint`.

    Args:
        network: the bare network in training, on its device.
        decay: the greatest share that is kept, in [0, 1).

    Raises:
        ValueError: the decay is out of range.

    Example:
        >>> network = nn.Linear(1, 1)
        >>> average = ExponentialMovingAverage(network, decay=0.9)
        >>> average.update()
        >>> torch.equal(average.ema_network.weight, network.weight)
        True
    """

    def __init__(self, network: nn.Module, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the decay is at least 0 and below 1, not {decay}")
        self.network = network
        self._average = AveragedModel(network, multi_avg_fn=partial(_average, decay), use_buffers=True)
        self._average.requires_grad_(False)

    @property
    def ema_network(self) -> nn.Module:
        """The network with the averaged weights."""
        return self._average.module

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: self.update())

    def update(self) -> None:
        """Take the network's weights of this moment into the average."""
        self._average.update_parameters(self.network)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights and the number of updates."""
        return self._average.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._average.load_state_dict(state)


@torch.no_grad()
def _average(decay: float, averaged: Any, current: Any, updates: torch.Tensor) -> None:
    count = int(updates)
    weight = 1 - min(decay, (1 + count) / (10 + count))
    for own, new in zip(averaged, current, strict=True):
        if own.is_floating_point():
            own.lerp_(new, weight)
        else:
            own.copy_(new)
