"""The last weights of a training, for papers that do not choose the best."""

from __future__ import annotations

from pathlib import Path

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from tinylesions.handlers.checkpoints import save_state

__all__ = ["LastModel"]


class LastModel:
    """Save the network's weights after each epoch, and when a training that is already complete is started again.

    Args:
        path: the weights' file, a plain state dict.
        network: the bare network.
    """

    def __init__(self, path: str | Path, network: torch.nn.Module) -> None:
        self.path = Path(path)
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.complete)

    def __call__(self, engine: Engine) -> None:
        """Save the weights."""
        if idist.get_rank() == 0:
            save_state(self.network.state_dict(), self.path)

    def complete(self, engine: Engine) -> None:
        """Save the weights that a complete training had restored, of which no epoch is left to do it.

        The file may be there and still be of an earlier epoch, from a training killed between checkpoint and file.
        """
        # ignite fires COMPLETED after terminate() too, which may come within an epoch
        state = engine.state
        if state.max_epochs is not None and state.iteration == state.max_epochs * (state.epoch_length or 0):
            self(engine)
