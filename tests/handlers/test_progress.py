"""The bar counts a whole training, shows loss and metric, and needs no terminal."""

from __future__ import annotations

import re

import pytest
from ignite.engine import Engine

from tinylesions.handlers import Progress

from .trainings import KilledError, Training, build_evaluator, build_network


def last_line(captured: str) -> str:
    return [line for line in re.split(r"[\r\n]", captured) if line.strip()][-1]


def test_training_shows_its_loss_over_all_epochs(tmp_path, capsys):
    training = Training(tmp_path, max_epochs=2, handlers=[Progress("training")]).run()
    line = last_line(capsys.readouterr().err)
    assert line.startswith("training: 100%")
    assert "6/6" in line
    assert f"loss={training.losses[-1]:.4f}" in line


def test_resumed_training_starts_where_it_was(tmp_path, capsys):
    with pytest.raises(KilledError):
        Training(tmp_path, max_epochs=3, kill_after=1).run()
    capsys.readouterr()
    Training(tmp_path, max_epochs=3, handlers=[Progress("training")]).run()
    lines = [line for line in re.split(r"[\r\n]", capsys.readouterr().err) if "training:" in line]
    assert "3/9" in lines[0]
    assert "9/9" in lines[-1]


def test_metric_of_the_validation_is_shown(tmp_path, capsys):
    evaluator = build_evaluator(build_network())
    evaluator.run()
    Training(tmp_path, max_epochs=1, handlers=[Progress("training", evaluator)]).run()
    value = evaluator.state.metrics["average_precision"]
    assert f"average_precision={value:.4f}" in last_line(capsys.readouterr().err)


def test_validation_is_one_pass_whatever_the_epoch(capsys):
    evaluator = build_evaluator(build_network(), [Progress("validating")])
    for epoch in (1, 7):
        evaluator.run(epoch)
        line = last_line(capsys.readouterr().err)
        assert line.startswith("validating: 100%")
        assert "2/2" in line
        assert "loss" not in line


def test_no_bar_is_left_open(tmp_path):
    progress = Progress("training")
    Training(tmp_path, max_epochs=1, handlers=[progress]).run()
    assert progress.bar is None
    engine = Engine(lambda engine, _: engine.terminate(skip_completed=True))
    progress.attach(engine)
    engine.run([1, 2, 3])
    assert progress.bar is None
