from __future__ import annotations

from types import SimpleNamespace

import pytest
from ignite.engine import Engine

from tinylesions.handlers import IntervalAndFinalValidation


@pytest.mark.parametrize(
    ("interval", "max_epochs", "validated"), [(2, 5, [2, 4, 5]), (5, 3, [3]), (2, 4, [2, 4]), (1, 2, [1, 2])]
)
def test_validates_at_the_interval_and_at_the_end(interval, max_epochs, validated):
    epochs = []
    evaluator = SimpleNamespace(run=epochs.append)
    handler = IntervalAndFinalValidation(interval=interval)
    handler.validator = evaluator
    trainer = Engine(lambda engine, batch: None)
    handler.attach(trainer)
    trainer.run([0], max_epochs=max_epochs)
    assert epochs == validated


def test_a_later_stage_goes_on_counting():
    epochs = []
    handler = IntervalAndFinalValidation(interval=1, earlier_epochs=300)
    handler.validator = SimpleNamespace(run=epochs.append)
    trainer = Engine(lambda engine, batch: None)
    handler.attach(trainer)
    trainer.run([0], max_epochs=2)
    assert epochs == [301, 302]


def test_without_an_evaluator_it_says_so():
    trainer = Engine(lambda engine, batch: None)
    IntervalAndFinalValidation(interval=1).attach(trainer)
    with pytest.raises(RuntimeError, match="no evaluator"):
        trainer.run([0], max_epochs=1)
