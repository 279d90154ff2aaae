"""The timed losses are those of the package, beside networks that train."""

from __future__ import annotations

import pytest
import torch

from benchmarks import __main__ as runner
from benchmarks import online_bootstrapping
from benchmarks.measure import Measurement
from tinylesions.losses import OnlineBootstrappingLoss


@pytest.fixture
def in_this_process(monkeypatch):
    """A process of its own needs seconds to start."""
    monkeypatch.setattr(online_bootstrapping, "alone", lambda function, *args: Measurement(function(*args), 1.0))


def test_figures_belong_together(in_this_process):
    rows = online_bootstrapping.compare(True, size=64, batch=2)
    assert [row["loss"] for row in rows] == ["cross-entropy", "512 hardest pixels", "4096 hardest pixels"]
    assert {row["network"] for row in rows} == {online_bootstrapping.SMALL}
    for row in rows:
        assert row["share (%)"] == pytest.approx(100 * row["loss (ms)"] / (row["loss (ms)"] + row["network (ms)"]))
        assert min(row["loss (ms)"], row["network (ms)"]) > 0
        chosen = row["loss"] != "cross-entropy"
        assert (row["choice (ms)"] > 0) == (row["sort (ms)"] > 0) == chosen


def test_names_say_what_is_timed():
    losses = {name: make() for name, make in online_bootstrapping.LOSSES.items()}
    for name, loss in losses.items():
        assert not isinstance(loss, OnlineBootstrappingLoss) or name == f"{loss.hard_pixels} hardest pixels"
    for make in online_bootstrapping.NETWORKS.values():
        with torch.device("meta"):
            network = make()
        logits = network.to_empty(device="meta")(torch.rand(2, 3, 64, 64, device="meta"))
        assert logits.shape == (2, online_bootstrapping.CLASSES, 64, 64)


def test_the_runner_knows_it(monkeypatch, capsys):
    assert runner.BENCHMARKS["online_bootstrapping"] is online_bootstrapping.compare
    monkeypatch.setattr(online_bootstrapping, "compare", lambda quick: [{"loss": "one", "share (%)": 1.2345 + quick}])
    online_bootstrapping.main(["--quick"])
    assert "2.23" in capsys.readouterr().out
