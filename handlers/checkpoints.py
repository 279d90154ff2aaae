"""What a training leaves: its state after each epoch, to go on from, and the best network so far."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from tinylesions.datasets.errors import InputError
from tinylesions.transforms.atomic import atomic_path

__all__ = ["BestModel", "TrainingCheckpoint", "save_state"]


class TrainingCheckpoint:
    """Save a training's whole state after each epoch, and go on from it when the training starts again.

    MONAI's ``CheckpointSaver`` removes the old file before it writes the new one; here the new one is complete before
    it takes the old one's place, so that a training killed at any moment can go on.

    Args:
        path: the checkpoint's file.
        objects: what to save, each with ``state_dict`` and ``load_state_dict``: the network, the optimiser, the
            schedule, the best model's handler. The trainer itself is added.
        resume: whether to go on from the file where it exists; if not, it is overwritten.
        settings: what the training depends on: data set, learning rate, number of epochs. A file with other settings
            is another training, and is refused.
    """

    def __init__(
        self,
        path: str | Path,
        objects: Mapping[str, Any],
        resume: bool = True,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.objects = dict(objects)
        # as JSON holds them, so that those of the file compare equal
        self.settings = json.loads(json.dumps(dict(settings or {}), default=str))
        self.resume = resume

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer; last of its handlers, so that the state saved is that of the finished epoch."""
        self.objects["trainer"] = engine
        if getattr(engine, "scaler", None) is not None:  # mixed precision on a GPU
            self.objects["scaler"] = engine.scaler  # type: ignore[attr-defined]
        if self.resume and self.path.is_file():
            engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def load(self, engine: Engine) -> None:
        """Restore the state; a training that is already complete ends at once.

        Raises:
            InputError: the file is damaged or no checkpoint of a training, has more epochs than the training asks for,
                or belongs to another set-up.
        """
        max_epochs, epoch_length = engine.state.max_epochs, engine.state.epoch_length
        remedy = "remove the file to start anew"
        try:
            checkpoint = torch.load(self.path, map_location=idist.device(), weights_only=True)
            saved_length = checkpoint["trainer"]["epoch_length"]
            saved_settings = checkpoint.pop("settings")
        except Exception as error:  # a damaged pickle raises whatever its bytes lead to
            raise InputError(f"{self.path} is no checkpoint of a training, or a damaged one: {remedy}.") from error
        if checkpoint.keys() != self.objects.keys():
            raise InputError(
                f"{self.path} holds {', '.join(checkpoint)} and this training has {', '.join(self.objects)}:"
                f" use the settings it was saved with, or {remedy}."
            )
        differing = [name for name in self.settings if self.settings[name] != saved_settings.get(name)]
        if differing:
            raise InputError(
                f"{self.path} is of a training with another {' and '.join(differing)}: use the settings it was saved"
                f" with, name another folder, or {remedy}."
            )
        if saved_length != epoch_length:
            raise InputError(
                f"{self.path} was saved with {saved_length} iterations an epoch, now there are {epoch_length}:"
                f" use the settings it was saved with, or {remedy}."
            )
        try:
            for name, state in checkpoint.items():
                self.objects[name].load_state_dict(state)
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(f"the {name} in {self.path} does not fit this training, {remedy}: {error}") from error
        done = engine.state.epoch
        if max_epochs is not None and done > max_epochs:
            raise InputError(
                f"{self.path} already holds {done} epochs and the training asks for {max_epochs}:"
                f" raise max_epochs, or {remedy}."
            )
        engine.state.max_epochs = max_epochs
        if done == max_epochs:
            engine.logger.warning(f"{self.path} holds all {done} epochs, nothing is left to train; {remedy}.")
            engine.terminate()
            return
        engine.logger.info(f"Going on after epoch {engine.state.epoch} of {self.path}")

    def save(self, engine: Engine) -> None:
        """Write the state."""
        if idist.get_rank() == 0:
            state = {name: item.state_dict() for name, item in self.objects.items()}
            save_state({"settings": self.settings, **state}, self.path)


class BestModel:
    """Save the network's weights whenever the key metric of a validation is the highest so far.

    Its state is the best value, so that a resumed training does not overwrite a better network with a worse one.

    Args:
        path: the weights' file, a plain state dict.
        network: the bare network.
    """

    def __init__(self, path: str | Path, network: torch.nn.Module) -> None:
        self.path = Path(path)
        self.network = network
        self.best: float | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator that validates."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save the weights if they are the best."""
        value = engine.state.metrics[engine.state.key_metric_name]  # type: ignore[attr-defined]
        # a file that lies there before the first validation is of another training
        if self.best is None or value > self.best or not self.path.is_file():
            self.best = value if value == value else -math.inf  # NaN: nothing to score, keep the first
            if idist.get_rank() == 0:
                save_state(self.network.state_dict(), self.path)

    def state_dict(self) -> dict[str, float | None]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, float | None]) -> None:
        """Restore the best value."""
        self.best = state["best"]


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write a state, complete before it takes an older file's place."""
    # by way of memory: torch.save does not tell why a file could not be written
    encoded = io.BytesIO()
    torch.save(state, encoded)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())
