"""Draw each epoch's random numbers from its own seed, so that a resumed training equals an uninterrupted one."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from monai.utils import set_determinism

__all__ = ["EpochSeed"]


class EpochSeed:
    """Seed torch, numpy and the random transforms with ``seed + epoch`` when an epoch starts.

    Args:
        seed: seed of the run.
        transforms: the random transforms, a ``Compose`` or anything else with ``set_random_state``; none where only the
            order of the photos is random.
    """

    def __init__(self, seed: int, transforms: Any = None) -> None:
        self.seed = seed
        self.transforms = transforms

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed everything."""
        set_determinism(self.seed + engine.state.epoch)
        if self.transforms is not None:
            self.transforms.set_random_state(self.seed + engine.state.epoch)
