"""The moving average against its definition as a weighted sum of all states of the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events

from tinylesions.handlers import ExponentialMovingAverage

from .trainings import KilledError, Training, build_network


def averaged_training(
    folder: Path, max_epochs: int, kill_after: int | None = None
) -> tuple[Training, ExponentialMovingAverage]:
    network = build_network()
    average = ExponentialMovingAverage(network, decay=0.6)
    training = Training(folder, max_epochs, kill_after=kill_after, network=network, handlers=[average])
    training.checkpoint.objects["ema"] = average
    return training, average


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.99])
def test_against_the_weighted_sum_of_all_states(decay):
    network = build_network()
    average = ExponentialMovingAverage(network, decay)
    states, generator = [], torch.Generator().manual_seed(5)
    for step in range(12):
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator))
            else:
                value.fill_(7 * step)
        average.update()
        states.append({name: value.clone() for name, value in network.state_dict().items()})
    kept = [0.0] + [min(decay, (1 + n) / (10 + n)) for n in range(1, 12)]
    weights = [(1 - kept[i]) * np.prod(kept[i + 1 :]) for i in range(12)]
    assert sum(weights) == pytest.approx(1)
    found = average.ema_network.state_dict()
    assert found.keys() == states[0].keys()
    for name, value in found.items():
        if value.is_floating_point():
            expected = sum(w * s[name].double().numpy() for w, s in zip(weights, states, strict=True))
            np.testing.assert_allclose(value.numpy(), expected, atol=1e-6)
        else:
            assert int(value) == 77


def test_the_network_itself_is_as_without_an_average(tmp_path):
    training, average = averaged_training(tmp_path / "with", 2)
    alone = Training(tmp_path / "without", max_epochs=2)
    assert training.run().losses == alone.run().losses
    for name, value in alone.network.state_dict().items():
        assert torch.equal(value, training.network.state_dict()[name])
    assert not torch.equal(average.ema_network[0].weight, training.network[0].weight)
    assert all(not parameter.requires_grad for parameter in average.ema_network.parameters())
    assert all(parameter.requires_grad for parameter in training.network.parameters())


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    whole, of_whole = averaged_training(tmp_path / "whole", 3)
    updates = []
    whole.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: updates.append(1))
    whole.run()
    killed, _ = averaged_training(tmp_path / "killed", 3, kill_after=1)
    with pytest.raises(KilledError):
        killed.run()
    resumed, of_resumed = averaged_training(tmp_path / "killed", 3)
    resumed.run()
    assert len(updates) == 9 > len(resumed.losses)
    first, second = of_whole.state_dict(), of_resumed.state_dict()
    assert first.keys() == second.keys()
    assert int(second["n_averaged"]) == 9
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_out_of_range(decay):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        ExponentialMovingAverage(build_network(), decay)
