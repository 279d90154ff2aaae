"""The share falls in the paper's steps, whether the training runs through or is resumed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ignite.engine import Engine, Events
from torch import nn

from tinylesions.handlers import NegativeShareSchedule, negative_share
from tinylesions.losses import TopKBalancedCELoss

from .trainings import KilledError, Training


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (1, 0.14),
        (9_999, 0.14),
        # λ₀ / (M / S) = 0.14 / 9.72
        (10_000, 0.14 - 0.0144032922),
        (10_001, 0.14 - 0.0144032922),
        (19_999, 0.14 - 0.0144032922),
        (20_000, 0.14 - 0.0288065844),
        (20_001, 0.14 - 0.0288065844),
        (89_999, 0.14 - 8 * 0.0144032922),
        (90_000, 0.14 - 9 * 0.0144032922),
        (97_200, 0.0103703704),
        # beyond the training's end
        (99_999, 0.0103703704),
        (100_000, 0.0),
        (1_000_000, 0.0),
    ],
)
def test_steps_of_the_paper(iteration, expected):
    """97 200 iterations, no multiple of 10 000."""
    assert negative_share(iteration, 0.14, 10_000, 97_200) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("period", "max_iterations"), [(3, 12), (5, 12), (1, 7), (20, 12), (12, 12)])
def test_every_iteration_of_short_trainings(period, max_iterations):
    """Literally, step by step."""
    share = 0.3
    for iteration in range(1, max_iterations + 1):
        if iteration % period == 0:
            share -= 0.3 / (max_iterations / period)
        found = negative_share(iteration, 0.3, period, max_iterations)
        assert found == pytest.approx(share, abs=1e-12)
        assert found >= 0


@pytest.mark.parametrize(
    ("iteration", "initial", "period", "max_iterations", "message"),
    [
        (1, -0.1, 5, 10, "initial must be between 0 and 1"),
        (1, 1.1, 5, 10, "initial must be between 0 and 1"),
        (1, float("nan"), 5, 10, "initial must be between 0 and 1"),
        (-1, 0.1, 5, 10, "iteration must be 0 or more"),
        (1, 0.1, 0, 10, "period and max_iterations 1 or more"),
        (1, 0.1, 5, 0, "period and max_iterations 1 or more"),
    ],
)
def test_bad_arguments(iteration, initial, period, max_iterations, message):
    with pytest.raises(ValueError, match=message):
        negative_share(iteration, initial, period, max_iterations)
    if iteration >= 0:
        with pytest.raises(ValueError, match=message):
            NegativeShareSchedule(TopKBalancedCELoss(), initial, period, max_iterations)


def test_loss_without_the_share():
    with pytest.raises(ValueError, match="MSELoss has no negative_share"):
        NegativeShareSchedule(nn.MSELoss())


def shares_of(engine: Engine, schedule: NegativeShareSchedule) -> list[float]:
    """Attach the schedule, and note what each iteration finds."""
    shares: list[float] = []
    schedule.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: shares.append(schedule.loss.negative_share))
    return shares


@pytest.mark.parametrize(("max_iterations", "slope"), [(None, 0.5 * 4 / 10), (20, 0.5 * 4 / 20)])
def test_in_an_engine(max_iterations, slope):
    """Two epochs of five iterations; the process function sees the iteration's own share."""
    loss = TopKBalancedCELoss(0.9)
    seen = []
    engine = Engine(lambda *_: seen.append(loss.negative_share))
    NegativeShareSchedule(loss, 0.5, 4, max_iterations).attach(engine)
    engine.run(range(5), max_epochs=2)
    steps = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert seen == pytest.approx([0.5 - slope * step for step in steps], abs=1e-12)


def test_resumed_equals_uninterrupted(tmp_path):
    """Four epochs of three iterations, killed in the third."""
    whole = Training(tmp_path / "whole", max_epochs=4)
    expected = shares_of(whole.trainer, NegativeShareSchedule(TopKBalancedCELoss(), 0.14, 5))
    whole.run()
    steps = [0] * 4 + [1] * 5 + [2] * 3
    assert expected == pytest.approx([0.14 - 0.14 / (12 / 5) * step for step in steps], abs=1e-12)

    killed = Training(tmp_path / "killed", max_epochs=4, kill_after=2)
    NegativeShareSchedule(TopKBalancedCELoss(), 0.14, 5).attach(killed.trainer)
    with pytest.raises(KilledError):
        killed.run()
    resumed = Training(tmp_path / "killed", max_epochs=4)
    found = shares_of(resumed.trainer, NegativeShareSchedule(TopKBalancedCELoss(), 0.14, 5))
    resumed.run()
    assert found == expected[2 * 3 :]


@pytest.mark.parametrize(("max_epochs", "epoch_length"), [(None, 5), (2, None)])
def test_training_of_unknown_length(max_epochs, epoch_length):
    state = SimpleNamespace(iteration=3, max_epochs=max_epochs, epoch_length=epoch_length)
    loss = TopKBalancedCELoss()
    with pytest.raises(ValueError, match="name max_iterations"):
        NegativeShareSchedule(loss, period=2)(SimpleNamespace(state=state))
    NegativeShareSchedule(loss, 0.2, period=2, max_iterations=4)(SimpleNamespace(state=state))
    assert loss.negative_share == pytest.approx(0.1)
