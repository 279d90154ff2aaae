from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tinylesions.inferers.photo_inference import infer_photo
from tinylesions.inferers.window_grid import window_grid

from .photos import disc, literal_map, photo, small_network

NETWORK = small_network()
CPU = torch.device("cpu")


def infer(run: torch.Tensor, forward, batch_size: int, background: float = 0, on_batch=lambda count: None):
    grid = window_grid((61, 83), (16, 12), (0.5, 0.5))
    run = grid.touching(run)
    importance = torch.ones(16, 12)
    with torch.no_grad():
        return infer_photo(photo()[0], run, grid, forward, batch_size, importance, background, CPU, on_batch)


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_a_map_is_that_of_a_loop_and_batches_are_counted(batch_size):
    seen, done = [], []

    def forward(windows: torch.Tensor) -> dict:
        seen.append(len(windows))
        return {"a": NETWORK(windows), "b": functional.avg_pool2d(windows, 1)}

    foreground = disc(61, 83, radius=0.2)
    found = infer(foreground, forward, batch_size, -1, done.append)
    for key, network in (("a", NETWORK), ("b", lambda windows: windows)):
        expected, windows = literal_map(photo(), network, foreground, (16, 12), 0.5, background=-1)
        torch.testing.assert_close(found[key], expected[0], rtol=0, atol=1e-5)
    assert seen == done
    assert sum(done) == windows
    assert max(done) <= batch_size


def test_windows_hold_the_pixels_of_their_places():
    cut = []
    grid = window_grid((61, 83), (16, 12), (0.5, 0.5))
    infer(torch.ones(61, 83, dtype=torch.bool), lambda windows: cut.extend(windows) or {0: windows}, 7)
    expected = [photo()[0, :, top : top + 16, left : left + 12] for top in grid.tops for left in grid.lefts]
    assert torch.equal(torch.stack(cut), torch.stack(expected))


def test_without_windows_the_map_is_background():
    found = infer(torch.zeros(61, 83, dtype=torch.bool), lambda windows: {"a": NETWORK(windows)}, 4, -2)
    assert found["a"].shape == (2, 61, 83)
    assert (found["a"] == -2).all()
