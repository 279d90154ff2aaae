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
