"""Validation at intervals and after the last epoch, whatever the interval."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import ValidationHandler

__all__ = ["IntervalAndFinalValidation"]


class IntervalAndFinalValidation(ValidationHandler):
    """Validate every `interval` epochs and after the last one, so that no training ends without a best network.

    Args:
        interval: epochs between two validations.
        validator: the evaluator that validates.
        earlier_epochs: epochs of the stages before this trainer's, from which the validator's epochs go on.
    """

    def __init__(self, interval: int, validator: Evaluator | None = None, earlier_epochs: int = 0) -> None:
        super().__init__(interval, validator)
        self.earlier_epochs = earlier_epochs

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._is_due), self)

    def _is_due(self, engine: Engine, epoch: int) -> bool:
        return epoch % self.interval == 0 or epoch == engine.state.max_epochs

    def __call__(self, engine: Engine) -> None:
        """Validate."""
        if self.validator is None:
            raise RuntimeError("there is no evaluator to validate with: give one as validator")
        self.validator.run(self.earlier_epochs + engine.state.epoch)
