from __future__ import annotations

import pandas as pd
import torch
from ignite.engine import Engine

from tinylesions.handlers import MetricsLog


def validate(log: MetricsLog, epoch: int, **metrics) -> None:
    engine = Engine(lambda engine, batch: None)
    log.attach(engine)
    engine.state.metrics = metrics
    engine.state.epoch = epoch
    log(engine)


def test_a_row_for_each_validation_and_numbers_only(tmp_path):
    log = MetricsLog(tmp_path / "metrics.csv")
    validate(log, 5, mean=0.25, dice=torch.tensor([0.1, 0.2]))
    validate(log, 10, mean=torch.tensor(0.5))
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table.to_dict("list") == {"epoch": [5, 10], "mean": [0.25, 0.5]}


def test_going_on_from_a_checkpoint_replaces_later_rows(tmp_path):
    log = MetricsLog(tmp_path / "metrics.csv")
    validate(log, 1, mean=0.1)
    torch.save(log.state_dict(), tmp_path / "state.pt")
    validate(log, 2, mean=0.9)
    resumed = MetricsLog(tmp_path / "metrics.csv")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    validate(resumed, 2, mean=0.2)
    assert pd.read_csv(tmp_path / "metrics.csv")["mean"].tolist() == [0.1, 0.2]


def test_a_later_stage_keeps_the_rows_of_the_stage_before(tmp_path):
    first = MetricsLog(tmp_path / "metrics.csv", earlier_epochs=2)  # one log serves both stages of one run
    for epoch in (1, 2, 3):
        validate(first, epoch, mean=epoch / 10)
    second = MetricsLog(tmp_path / "metrics.csv", earlier_epochs=2)
    validate(second, 3, mean=0.7)
    validate(second, 4, mean=0.8)
    assert pd.read_csv(tmp_path / "metrics.csv").to_dict("list") == {
        "epoch": [1, 2, 3, 4],
        "mean": [0.1, 0.2, 0.7, 0.8],
    }


def test_a_new_training_starts_the_file_anew(tmp_path):
    for earlier_epochs in (0, 9):
        for epoch in range(1, 6):
            validate(MetricsLog(tmp_path / "metrics.csv"), epoch, mean=0.9)
        log = MetricsLog(tmp_path / "metrics.csv", earlier_epochs)
        for epoch in (5, 9):  # validations at an interval
            validate(log, epoch, mean=epoch / 10)
        assert pd.read_csv(tmp_path / "metrics.csv").to_dict("list") == {"epoch": [5, 9], "mean": [0.5, 0.9]}
