"""A training that was killed goes on as if it had not been, and the best network stays."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tinylesions.datasets.errors import InputError
from tinylesions.handlers import BestModel

from .trainings import KilledError, Training


def assert_same_weights(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, num_workers):
    whole = Training(tmp_path / "whole", max_epochs=4, num_workers=num_workers).run()

    killed = Training(tmp_path / "killed", max_epochs=4, kill_after=2, num_workers=num_workers)
    with pytest.raises(KilledError):
        killed.run()
    at_death = {name: value.clone() for name, value in killed.network.state_dict().items()}

    resumed = Training(tmp_path / "killed", max_epochs=4, num_workers=num_workers).run()
    assert len(resumed.losses) == 2 * 3
    assert resumed.losses == whole.losses[2 * 3 :]
    assert resumed.trainer.state.epoch == 4
    assert_same_weights(resumed.network.state_dict(), whole.network.state_dict())
    assert not torch.equal(at_death["0.weight"], resumed.network.state_dict()["0.weight"])
    assert resumed.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"] != 0.02
    assert resumed.best.best == whole.best.best
    assert_same_weights(torch.load(tmp_path / "killed/model.pt"), torch.load(tmp_path / "whole/model.pt"))


def test_epochs_see_different_random_transforms(tmp_path):
    """Else the test above would not tell whether their state is restored."""
    losses = Training(tmp_path, max_epochs=2).run().losses
    other = Training(tmp_path / "other", max_epochs=1)
    other.trainer.add_event_handler("EPOCH_STARTED", lambda engine: torch.manual_seed(12345))
    assert losses[0] != other.run().losses[0]


def test_a_finished_training_can_be_prolonged(tmp_path):
    Training(tmp_path / "short", max_epochs=1).run()
    longer = Training(tmp_path / "short", max_epochs=3).run()
    assert longer.trainer.state.epoch == 3
    assert_same_weights(
        longer.network.state_dict(), Training(tmp_path / "whole", max_epochs=3).run().network.state_dict()
    )


def test_finished_training_is_not_repeated_silently(tmp_path, caplog):
    first = Training(tmp_path, max_epochs=2).run()
    with caplog.at_level(logging.WARNING):
        again = Training(tmp_path, max_epochs=2).run()
    assert not again.losses
    assert "holds all 2 epochs, nothing is left to train; remove the file to start anew" in caplog.text
    assert_same_weights(again.network.state_dict(), first.network.state_dict())


def test_more_epochs_done_than_asked_for_is_refused(tmp_path):
    Training(tmp_path, max_epochs=2).run()
    with pytest.raises(InputError, match=r"checkpoint\.pt already holds 2 epochs .* raise max_epochs, or remove"):
        Training(tmp_path, max_epochs=1).run()


def test_without_resume_it_starts_anew(tmp_path):
    first = Training(tmp_path, max_epochs=1).run()
    again = Training(tmp_path, max_epochs=1, resume=False).run()
    assert again.losses == first.losses


def test_checkpoint_of_another_number_of_iterations(tmp_path):
    Training(tmp_path, max_epochs=1).run()
    with pytest.raises(
        InputError, match=r"checkpoint\.pt was saved with 3 iterations an epoch, now there are 4.*remove"
    ):
        Training(tmp_path, max_epochs=2, count=16).run()


def test_checkpoint_of_another_network(tmp_path):
    Training(tmp_path, max_epochs=1).run()
    with pytest.raises(InputError, match=r"the network in .*checkpoint\.pt does not fit .*remove the file"):
        Training(tmp_path, max_epochs=2, network=nn.Conv2d(3, 1, 1)).run()


def test_checkpoint_of_other_parts(tmp_path):
    Training(tmp_path, max_epochs=1).run()
    path = tmp_path / "checkpoint.pt"
    checkpoint = torch.load(path)
    torch.save({name: state for name, state in checkpoint.items() if name != "schedule"}, path)
    with pytest.raises(InputError, match=r"checkpoint\.pt holds network, optimizer, best_model, trainer and .*remove"):
        Training(tmp_path, max_epochs=2).run()


@pytest.mark.parametrize("damage", ["weights", "garbage", "truncated", "empty", "list"])
def test_file_that_is_no_checkpoint(tmp_path, damage):
    path = tmp_path / "checkpoint.pt"
    torch.save({"weight": torch.zeros(3)} if damage != "list" else [1, 2], path)
    content = path.read_bytes()
    damaged = {"garbage": b"hello world", "truncated": content[: len(content) // 2], "empty": b""}
    path.write_bytes(damaged.get(damage, content))
    with pytest.raises(InputError, match=r"checkpoint\.pt is no checkpoint of a training.*remove the file"):
        Training(tmp_path, max_epochs=1).run()


def test_only_whole_files_are_left(tmp_path):
    Training(tmp_path, max_epochs=2).run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "model.pt"]


def engine_with(value: float) -> SimpleNamespace:
    return SimpleNamespace(state=SimpleNamespace(metrics={"score": value}, key_metric_name="score"))


def validate(best: BestModel, network: nn.Linear, values: list[float]) -> float:
    """Validate a network whose weights say which value it had, and return that of the saved one."""
    for value in values:
        nn.init.constant_(network.weight, value)
        best(engine_with(value))
    return float(torch.load(best.path)["weight"])


@pytest.mark.parametrize(
    ("values", "kept"), [([0.2, 0.5, 0.4], 0.5), ([0.5, 0.5], 0.5), ([0.0, -1.0], 0.0), ([0.1, 0.2, 0.3], 0.3)]
)
def test_best_model_keeps_the_better_network(tmp_path, values, kept):
    network = nn.Linear(1, 1, bias=False)
    best = BestModel(tmp_path / "model.pt", network)
    assert validate(best, network, values) == pytest.approx(kept)
    assert best.best == kept


def test_best_model_with_a_metric_of_nan(tmp_path):
    """Nothing to score: the first network is kept until one has a value."""
    network = nn.Linear(1, 1, bias=False)
    best = BestModel(tmp_path / "model.pt", network)
    nn.init.constant_(network.weight, 7)
    best(engine_with(math.nan))
    nn.init.constant_(network.weight, 8)
    best(engine_with(math.nan))
    assert float(torch.load(best.path)["weight"]) == 7
    assert validate(best, network, [0.1, 0.05]) == pytest.approx(0.1)
    nn.init.constant_(network.weight, 9)
    best(engine_with(math.nan))
    assert float(torch.load(best.path)["weight"]) == pytest.approx(0.1)


@pytest.mark.parametrize("value", [0.1, math.nan])
def test_best_model_replaces_one_of_another_training(tmp_path, value):
    network = nn.Linear(1, 1, bias=False)
    torch.save({"weight": torch.tensor([[99.0]])}, tmp_path / "model.pt")
    BestModel(tmp_path / "model.pt", network)(engine_with(value))
    assert torch.equal(torch.load(tmp_path / "model.pt")["weight"], network.weight)


def test_resumed_best_model_is_not_overwritten_by_a_worse_one(tmp_path):
    network = nn.Linear(1, 1, bias=False)
    first = BestModel(tmp_path / "model.pt", network)
    validate(first, network, [0.6])
    second = BestModel(tmp_path / "model.pt", network)
    second.load_state_dict(first.state_dict())
    assert validate(second, network, [0.5]) == pytest.approx(0.6)


def test_best_model_that_was_removed_is_written_again(tmp_path):
    network = nn.Linear(1, 1, bias=False)
    best = BestModel(tmp_path / "model.pt", network)
    validate(best, network, [0.6])
    best.path.unlink()
    assert validate(best, network, [0.5]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([(0.5, 0.5), (0.9, 0.0), (0.1, 0.95)], 2),  # means 0.5, 0.45, 0.525
        ([(0.5, math.nan), (0.6, math.nan), (0.4, math.nan)], 1),
        ([(math.nan, math.nan), (math.nan, math.nan)], 0),
        ([(math.nan, math.nan), (0.1, math.nan), (0.0, 0.1)], 1),
    ],
)
def test_best_model_of_several_metrics(tmp_path, values, kept):
    """The key metric, which falls, does not count."""
    network = nn.Linear(1, 1, bias=False)
    best = BestModel(tmp_path / "model.pt", network, metrics=["accuracy", "precision"])
    for epoch, (accuracy, precision) in enumerate(values):
        nn.init.constant_(network.weight, epoch)
        metrics = {"score": -epoch, "accuracy": accuracy, "precision": precision}
        best(SimpleNamespace(state=SimpleNamespace(metrics=metrics, key_metric_name="score")))
    assert float(torch.load(best.path)["weight"]) == kept


@pytest.mark.parametrize("metrics", [[], "accuracy"])
def test_best_model_of_no_metrics(tmp_path, metrics):
    with pytest.raises(ValueError, match="must be a list of names"):
        BestModel(tmp_path / "model.pt", nn.Linear(1, 1), metrics=metrics)
