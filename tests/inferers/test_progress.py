from __future__ import annotations

import pytest
import torch

from tinylesions.inferers import ForegroundSlidingWindowInferer
from tinylesions.inferers.progress import MEASURED_SECONDS, WindowProgress
from tinylesions.inferers.window_plan import plan_windows

from .photos import photo, small_network

PLAN = plan_windows(torch.ones(1, 80, 80, dtype=torch.bool), (8, 8), (0, 0))


class Clock:
    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tinylesions.inferers.progress.time", clock)
    return clock


def test_the_estimate_leaves_the_first_batch_out_and_is_made_once(clock):
    estimates = []
    with WindowProgress(PLAN, show=False, on_estimate=estimates.append) as progress:
        clock.now += 50  # the first batch warms up
        progress.update(10)
        for _ in range(9):
            clock.now += 0.3 * MEASURED_SECONDS
            progress.update(10)
    assert estimates == pytest.approx([100 / 10 * 0.3 * MEASURED_SECONDS])


def test_no_estimate_of_what_is_done_at_once(clock):
    estimates = []
    with WindowProgress(PLAN, show=False, on_estimate=estimates.append) as progress:
        for _ in range(10):
            clock.now += 0.01 * MEASURED_SECONDS
            progress.update(10)
    assert not estimates


def test_the_bar_counts_windows_and_names_those_skipped(capsys):
    mask = torch.zeros(1, 80, 80, dtype=torch.bool)
    mask[..., :40] = True
    with WindowProgress(plan_windows(mask, (8, 8), (0, 0)), show=True, on_estimate=None) as progress:
        assert progress.bar.total == 50
        progress.update(20)
        assert progress.bar.n == 20
    assert "50 windows skipped" in capsys.readouterr().err


def test_the_bar_is_silent_unless_asked_for(capsys):
    ForegroundSlidingWindowInferer(16)(photo(), small_network())
    assert capsys.readouterr() == ("", "")
    ForegroundSlidingWindowInferer(16, progress=True)(photo(), small_network())
    assert "windows skipped" in capsys.readouterr().err


def test_the_inferer_estimates_once_a_call(clock):
    estimates, network = [], small_network()

    def slow(windows: torch.Tensor) -> torch.Tensor:
        clock.now += len(windows) * MEASURED_SECONDS / 4
        return network(windows)

    inferer = ForegroundSlidingWindowInferer(16, 2, on_estimate=estimates.append)
    for call in (1, 2):
        inferer(torch.cat([photo(), photo()]), slow)
        assert len(estimates) == call
    # the clock stands still but for the network: a quarter of the measured time for each window
    windows = inferer.plan(torch.cat([photo(), photo()])).windows
    assert estimates == pytest.approx([windows * MEASURED_SECONDS / 4] * 2, rel=0.5)
