"""The metrics of every validation of a training, as one CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pandas as pd
from ignite.engine import Engine, Events
from monai.utils import is_scalar

from tinylesions.datasets.atomic import atomic_path

__all__ = ["MetricsLog"]


class MetricsLog:
    """Add a row to a CSV after each validation: the epoch and every metric that is a number.

    MONAI's ``MetricsSaver`` keeps the last validation only. The rows are state, so that a training that goes on from
    its checkpoint goes on with the rows it had then.

    Args:
        path: the CSV.
        earlier_epochs: epochs of the stages before, which the numbers of this stage's epochs go on from. A later stage
            that starts on its own keeps their rows of the file.
    """

    def __init__(self, path: str | Path, earlier_epochs: int = 0) -> None:
        self.path = Path(path)
        self.earlier_epochs = earlier_epochs
        self.rows: list[dict[str, float]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator that validates; its epoch is the trainer's."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the row."""
        numbers = {name: float(value) for name, value in engine.state.metrics.items() if is_scalar(value)}
        if not self.rows and engine.state.epoch > self.earlier_epochs > 0 and self.path.is_file():
            earlier = pd.read_csv(self.path)
            self.rows = earlier[earlier["epoch"] <= self.earlier_epochs].to_dict("records")
        self.rows.append({"epoch": engine.state.epoch, **numbers})
        if idist.get_rank() == 0:
            with atomic_path(self.path) as temporary:
                pd.DataFrame(self.rows).to_csv(temporary, index=False)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the rows."""
        self.rows = list(state["rows"])
