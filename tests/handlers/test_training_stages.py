"""Two stages of one training: the second starts from the complete first, and never outlives it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events

from tinylesions.datasets import InputError
from tinylesions.handlers import TrainingCheckpoint, load_finished_training


def train(folder: Path, epochs: int, stop_after: int | None = None, **options) -> torch.nn.Module:
    """A first stage whose network counts its iterations, three an epoch."""
    network = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(network.weight)
    trainer = Engine(lambda engine, batch: network.weight.data.add_(1))
    checkpoint = TrainingCheckpoint(
        folder / "stage_1.pt",
        {"network": network},
        settings={"sides": (2, 3)},
        supersedes=folder / "stage_2.pt",
        **options,
    )
    checkpoint.attach(trainer)
    if stop_after is not None:
        trainer.add_event_handler(Events.EPOCH_COMPLETED(once=stop_after), trainer.terminate)
    trainer.run([0, 1, 2], max_epochs=epochs)
    return network


def test_the_complete_network_is_loaded(tmp_path):
    trained = train(tmp_path, 2)
    network = load_finished_training(torch.nn.Linear(1, 1), tmp_path / "stage_1.pt", 2, {"sides": [2, 3]})
    assert float(network.weight) == float(trained.weight) == 6
    assert torch.equal(network.bias, trained.bias)


def test_a_stage_that_is_not_complete_is_refused(tmp_path):
    train(tmp_path, 3, stop_after=2)
    with pytest.raises(InputError, match=r"stage_1\.pt holds 2 of 3 epochs: let the stage before"):
        load_finished_training(torch.nn.Linear(1, 1), tmp_path / "stage_1.pt", 3)
    train(tmp_path, 3)
    load_finished_training(torch.nn.Linear(1, 1), tmp_path / "stage_1.pt", 3)


def test_other_settings_and_no_file_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint at .*run the stage before"):
        load_finished_training(torch.nn.Linear(1, 1), tmp_path / "stage_1.pt", 1)
    train(tmp_path, 1)
    with pytest.raises(InputError, match="another sides"):
        load_finished_training(torch.nn.Linear(1, 1), tmp_path / "stage_1.pt", 1, {"sides": [2, 4]})
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="no checkpoint of a training"):
        load_finished_training(torch.nn.Linear(1, 1), tmp_path / "weights.pt", 1)


@pytest.mark.parametrize("anew", ["no file", "resume=False"])
def test_a_first_stage_that_starts_anew_removes_the_second(tmp_path, anew):
    second = tmp_path / "stage_2.pt"
    train(tmp_path, 2)
    second.write_bytes(b"of this training")
    train(tmp_path, 2)
    assert second.exists(), "the first stage is complete and the second may go on"
    if anew == "no file":
        (tmp_path / "stage_1.pt").unlink()
    train(tmp_path, 2, stop_after=1, resume=anew == "no file")
    assert not second.exists()


def test_a_first_stage_that_goes_on_has_no_second(tmp_path):
    train(tmp_path, 3, stop_after=1)
    (tmp_path / "stage_2.pt").write_bytes(b"of an earlier training")
    train(tmp_path, 3)
    assert not (tmp_path / "stage_2.pt").exists()
