"""The file holds the weights of the last finished epoch, whatever happened to the training."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import ignite.distributed as idist
import pytest
import torch
from ignite.engine import Engine
from torch import nn

from tinylesions.handlers import LastModel

from .trainings import KilledError, Training, build_network


def training(folder: Path, checkpoint_first: bool = False, **options) -> tuple[Training, Path]:
    """A training with its checkpoint and the handler, in the order of a config or the other way round."""
    network, path = build_network(), folder / "last.pt"
    handler = LastModel(path, network)
    result = Training(folder, network=network, handlers=[] if checkpoint_first else [handler], **options)
    if checkpoint_first:
        handler.attach(result.trainer)
    return result, path


def assert_same_weights(path: Path, expected: dict[str, torch.Tensor]) -> None:
    found = torch.load(path, weights_only=True)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def copy_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_every_epoch_is_written(tmp_path):
    run, path = training(tmp_path, max_epochs=3)
    epochs = []

    def check(engine: Engine) -> None:
        assert_same_weights(path, run.network.state_dict())
        epochs.append(torch.load(path)["0.weight"])

    run.trainer.add_event_handler("EPOCH_COMPLETED", check)
    run.run()
    assert len(epochs) == 3
    assert not any(torch.equal(first, second) for first, second in pairwise(epochs))
    assert_same_weights(path, run.network.state_dict())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "last.pt", "model.pt"]


def test_last_and_not_best(tmp_path):
    run, path = training(tmp_path, max_epochs=2)
    run.best.best = 2.0  # no validation reaches it, the best model is that of the first
    (tmp_path / "model.pt").write_bytes(b"better")
    run.run()
    assert (tmp_path / "model.pt").read_bytes() == b"better"
    assert_same_weights(path, run.network.state_dict())


@pytest.mark.parametrize("checkpoint_first", [False, True])
def test_killed_training_leaves_the_finished_epoch_and_goes_on(tmp_path, checkpoint_first):
    killed, path = training(tmp_path, checkpoint_first, max_epochs=3, kill_after=1)
    after_epoch = {}
    killed.trainer.add_event_handler("EPOCH_COMPLETED", lambda _: after_epoch.update(copy_of(killed.network)))
    with pytest.raises(KilledError):
        killed.run()
    assert_same_weights(path, after_epoch)
    assert not torch.equal(killed.network.state_dict()["0.weight"], after_epoch["0.weight"])

    resumed, path = training(tmp_path, checkpoint_first, max_epochs=3)
    assert len(resumed.run().losses) == 2 * 3
    assert_same_weights(path, resumed.network.state_dict())


@pytest.mark.parametrize("checkpoint_first", [False, True])
@pytest.mark.parametrize("left", ["nothing", "an earlier epoch"])
def test_complete_training_writes_what_it_restored(tmp_path, left, checkpoint_first):
    first, path = training(tmp_path, checkpoint_first, max_epochs=2)
    first.run()
    path.unlink()
    if left != "nothing":
        torch.save(build_network(seed=5).state_dict(), path)
    again, path = training(tmp_path, checkpoint_first, max_epochs=2)
    assert not torch.equal(again.network.state_dict()["0.weight"], first.network.state_dict()["0.weight"])
    assert not again.run().losses
    assert_same_weights(path, first.network.state_dict())


@pytest.mark.parametrize(("iteration", "epoch"), [(5, 2), (8, 3)])
def test_training_ended_within_an_epoch_writes_nothing_unfinished(tmp_path, iteration, epoch):
    run, path = training(tmp_path, max_epochs=3)
    finished = {}
    run.trainer.add_event_handler("EPOCH_COMPLETED", lambda _: finished.update(copy_of(run.network)))
    run.trainer.add_event_handler(
        "ITERATION_COMPLETED", lambda engine: engine.terminate() if engine.state.iteration == iteration else None
    )
    run.run()
    assert run.trainer.state.epoch == epoch
    assert_same_weights(path, finished)


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(idist, "get_rank", lambda: 1)
    LastModel(tmp_path / "last.pt", build_network())(Engine(lambda *_: None))
    assert not any(tmp_path.iterdir())
