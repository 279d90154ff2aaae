"""A checkpoint belongs to one training: other settings are refused, and a full disk is told in a sentence."""

from __future__ import annotations

import sys

import pytest
import torch
from ignite.engine import Engine

from tinylesions.datasets import InputError
from tinylesions.handlers import TrainingCheckpoint


def train(path, epochs: int, **settings) -> Engine:
    network = torch.nn.Linear(64, 64)
    trainer = Engine(lambda engine, batch: None)
    trainer.state.max_epochs, trainer.state.epoch_length = epochs, 1
    TrainingCheckpoint(path, {"network": network}, settings=settings).attach(trainer)
    trainer.run([0], max_epochs=epochs)
    return trainer


def test_other_settings_are_another_training(tmp_path):
    path = tmp_path / "checkpoint.pt"
    train(path, 1, dataset_dir="a", roi_size=(64, 64))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.pt is of a training with another dataset_dir: use the settings"):
        train(path, 2, dataset_dir="b", roi_size=[64, 64])
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
def test_full_disk_is_a_sentence_and_leaves_the_older_file(tmp_path):
    import resource

    path = tmp_path / "checkpoint.pt"
    train(path, 1)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(InputError, match=r"checkpoint\.pt cannot be written .*free some space"):
            train(path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
