"""What a training leaves: its state after each epoch, to go on from, and the best network so far."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from tinylesions.datasets.atomic import atomic_path
from tinylesions.datasets.errors import InputError

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
        supersedes: checkpoint of a later stage, which went on from an earlier training's end: it is removed as soon as
            this one trains.
    """

    def __init__(
        self,
        path: str | Path,
        objects: Mapping[str, Any],
        resume: bool = True,
        settings: Mapping[str, Any] | None = None,
        supersedes: str | Path | None = None,
    ) -> None:
        self.path = Path(path)
        self.objects = dict(objects)
        self.settings = _as_json(settings or {})
        self.resume = resume
        self.supersedes = None if supersedes is None else Path(supersedes)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer; last of its handlers, so that the state saved is that of the finished epoch."""
        self.objects["trainer"] = engine
        if getattr(engine, "scaler", None) is not None:  # mixed precision on a GPU
            self.objects["scaler"] = engine.scaler  # type: ignore[attr-defined]
        if self.resume:
            engine.add_event_handler(Events.STARTED, self.load)
        if self.supersedes is not None:
            engine.add_event_handler(Events.EPOCH_STARTED, self.remove_superseded)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def load(self, engine: Engine) -> None:
        """Restore the state, if there is any; a training that is already complete ends at once.

        Raises:
            InputError: the file is damaged or no checkpoint of a training, has more epochs than the training asks for,
                or belongs to another set-up.
        """
        if not self.path.is_file():
            return
        max_epochs, epoch_length = engine.state.max_epochs, engine.state.epoch_length
        remedy = _REMEDY
        checkpoint = _read(self.path, self.settings, tuple(self.objects))
        saved_length = checkpoint["trainer"]["epoch_length"]
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

    def remove_superseded(self, engine: Engine) -> None:
        """Remove the checkpoint of the later stage."""
        if self.supersedes is not None and idist.get_rank() == 0:
            self.supersedes.unlink(missing_ok=True)

    def save(self, engine: Engine) -> None:
        """Write the state."""
        if idist.get_rank() == 0:
            state = {name: item.state_dict() for name, item in self.objects.items()}
            save_state({"settings": self.settings, **state}, self.path)


def load_finished_training(
    network: torch.nn.Module, path: str | Path, epochs: int, settings: Mapping[str, Any] | None = None
) -> torch.nn.Module:
    """Load the network of a training that is complete, for a stage that goes on from it.

    Args:
        network: the bare network.
        path: the training's checkpoint.
        epochs: how many it has when it is complete.
        settings: as `TrainingCheckpoint` had them.

    Returns:
        The network.

    Raises:
        InputError: there is no such file, it is damaged, of another set-up, or the training is not complete.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no checkpoint at {path}: run the stage before this one first.")
    checkpoint = _read(path, _as_json(settings or {}))
    done = checkpoint["trainer"]["iteration"] // checkpoint["trainer"]["epoch_length"]
    if done < epochs:
        raise InputError(
            f"{path} holds {done} of {epochs} epochs: let the stage before this one come to its end first."
        )
    network.load_state_dict(checkpoint["network"])
    return network


_REMEDY = "remove the file to start anew"


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as JSON holds them, so that those of a file compare equal."""
    return json.loads(json.dumps(dict(settings), default=str))


def _read(path: Path, settings: Mapping[str, Any], names: Sequence[str] | None = None) -> dict[str, Any]:
    """What a checkpoint holds, if it is of a training with these settings and, where they are given, these objects."""
    try:
        checkpoint = torch.load(path, map_location=idist.device(), weights_only=True)
        _ = checkpoint["network"], checkpoint["trainer"]["epoch_length"]
        saved_settings = checkpoint.pop("settings")
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise InputError(f"{path} is no checkpoint of a training, or a damaged one: {_REMEDY}.") from error
    if names is not None and checkpoint.keys() != set(names):
        raise InputError(
            f"{path} holds {', '.join(checkpoint)} and this training has {', '.join(names)}:"
            f" use the settings it was saved with, or {_REMEDY}."
        )
    differing = [name for name in settings if settings[name] != saved_settings.get(name)]
    if differing:
        raise InputError(
            f"{path} is of a training with another {' and '.join(differing)}: use the settings it was saved"
            f" with, name another folder, or {_REMEDY}."
        )
    return checkpoint


class BestModel:
    """Save the network's weights whenever the key metric of a validation is the highest so far.

    Its state is the best value, so that a resumed training does not overwrite a better network with a worse one.

    Args:
        path: the weights' file, a plain state dict.
        network: the bare network.
        metrics: names of metrics of the validation whose mean stands for the key metric, so that a network of several
            tasks is chosen by all of them; those that are NaN, of tasks with nothing to score, are left out.
    """

    def __init__(self, path: str | Path, network: torch.nn.Module, metrics: Sequence[str] | None = None) -> None:
        if metrics is not None and (isinstance(metrics, str) or not metrics):
            raise ValueError(f"metrics must be a list of names, not {metrics!r}")
        self.path = Path(path)
        self.network = network
        self.metrics = metrics
        self.best: float | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator that validates."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save the weights if they are the best."""
        value = self._value(engine)
        # a file that lies there before the first validation is of another training
        if self.best is None or value > self.best or not self.path.is_file():
            self.best = value if value == value else -math.inf  # NaN: nothing to score, keep the first
            if idist.get_rank() == 0:
                save_state(self.network.state_dict(), self.path)

    def _value(self, engine: Engine) -> float:
        names = self.metrics or [engine.state.key_metric_name]  # type: ignore[attr-defined]
        values = [engine.state.metrics[name] for name in names]
        present = [value for value in values if value == value]
        return sum(present) / len(present) if present else math.nan

    def state_dict(self) -> dict[str, float | None]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, float | None]) -> None:
        """Restore the best value."""
        self.best = state["best"]


def save_state(state: Mapping[str, Any], path: str | Path) -> None:
    """Write a state, complete before it takes an older file's place."""
    # by way of memory: torch.save does not tell why a file could not be written
    encoded = io.BytesIO()
    torch.save(state, encoded)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(encoded.getbuffer())
