"""A progress bar with the loss, the metric and the time left."""

from __future__ import annotations

import sys
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import from_engine
from tqdm import tqdm

__all__ = ["Progress"]


class Progress:
    """Show how far an engine's run is, what its loss is and how long it will take.

    ignite's bar starts anew with each epoch; a training's user asks when the training ends.

    Args:
        description: what is being done, e.g. ``"training"``.
        evaluator: the engine whose key metric is shown beside the loss.
    """

    def __init__(self, description: str, evaluator: Engine | None = None) -> None:
        self.description = description
        self.evaluator = evaluator
        self.bar: Any = None

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer or an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.step)
        engine.add_event_handler(Events.COMPLETED, self.close)
        engine.add_event_handler(Events.TERMINATE, self.close)

    def start(self, engine: Engine) -> None:
        """Open the bar when the first epoch starts, where the length and a resumed position are known."""
        if self.bar is None:
            state: Any = engine.state
            # MONAI's validation counts on in the trainer's epochs, but a run is one pass
            epochs, done = (1, 0) if isinstance(engine, Evaluator) else (state.max_epochs, state.iteration)
            # a log file gets a line every ten seconds, not ten a second
            interval = 0.1 if sys.stderr.isatty() else 10
            self.bar = tqdm(
                total=epochs * state.epoch_length,
                initial=done,
                desc=self.description,
                mininterval=interval,
                dynamic_ncols=True,
            )

    def step(self, engine: Engine) -> None:
        """Move the bar by an iteration."""
        shown = {}
        output: Any = engine.state.output
        if output and "loss" in output[0]:
            shown["loss"] = f"{float(from_engine(['loss'], first=True)(output)):.4f}"
        if self.evaluator is not None and self.evaluator.state.metrics:
            name = self.evaluator.state.key_metric_name  # type: ignore[attr-defined]
            shown[name] = f"{self.evaluator.state.metrics[name]:.4f}"
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()

    def close(self, engine: Engine) -> None:
        """Finish the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
