from __future__ import annotations

import pytest
import torch

from tinylesions.inferers.stitching import MapStitcher, add_windows
from tinylesions.inferers.window_grid import WindowGrid, window_grid

RUNS = {
    "one window": (0, 3, 1),
    "side by side": (0, 8, 5),
    "step does not divide": (0, 3, 12),
    "every pixel": (0, 1, 30),
    "fewer than overlap": (2, 1, 3),
    "up to the border": (9, 6, 5),
}


@pytest.mark.parametrize(("left", "step", "count"), RUNS.values(), ids=RUNS)
def test_adding_windows_side_by_side_equals_a_loop(left, step, count):
    torch.manual_seed(0)
    windows = torch.rand(count, 2, 4, 8)
    strip = torch.rand(2, 4, 41)
    expected = strip.clone()
    for index, window in enumerate(windows):
        start = left + step * index
        expected[..., start : start + 8] += window
    add_windows(strip, windows, left, step)
    torch.testing.assert_close(strip, expected)


def test_the_strip_may_be_a_part_of_a_map():
    map_ = torch.zeros(1, 10, 12)
    add_windows(map_[:, 3:7], torch.ones(3, 1, 4, 6), 0, 3)
    expected = torch.zeros(1, 10, 12)
    for start in (0, 3, 6):
        expected[:, 3:7, start : start + 6] += 1
    assert torch.equal(map_, expected)


def stitched(
    grid: WindowGrid, size: tuple[int, int], run: torch.Tensor, batch: int, background: float | list[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The stitcher's map of random windows, and that of a loop."""
    torch.manual_seed(0)
    importance = torch.rand(grid.roi_size) + 0.1
    places = run.nonzero()
    windows = torch.rand(len(places), 4, *grid.roi_size)

    stitcher = MapStitcher(4, size, grid, importance, background, torch.device("cpu"))
    for start in range(0, len(places), batch):
        part = slice(start, start + batch)
        stitcher.add(windows[part] * importance, *places[part].unbind(1))

    total, weight = torch.zeros(4, *size), torch.zeros(size)
    for (row, column), window in zip(places.tolist(), windows, strict=True):
        top, left = grid.tops[row], grid.lefts[column]
        place = (..., slice(top, top + grid.roi_size[0]), slice(left, left + grid.roi_size[1]))
        total[place] += window * importance
        weight[place] += importance
    values = torch.tensor(background).expand(4) if isinstance(background, float) else torch.tensor(background * 2)
    expected = torch.where(weight > 0, total / weight, values[:, None, None])
    return stitcher.mean(), expected


@pytest.mark.parametrize("background", [0.0, -7.0, [1.0, 2.0]], ids=str)
@pytest.mark.parametrize("share", [0.1, 0.5, 1])
@pytest.mark.parametrize("batch", [1, 3, 1000])
@pytest.mark.parametrize("kind", ["monai", "even"])
def test_a_map_is_the_weighted_mean_of_its_windows(kind, batch, share, background):
    grid = window_grid((37, 52), (12, 16), (0.3, 0.5), kind)
    run = torch.rand(len(grid.tops), len(grid.lefts), generator=torch.Generator().manual_seed(5)) < share
    found, expected = stitched(grid, (37, 52), run, batch, background)
    torch.testing.assert_close(found, expected)


def test_rows_without_windows_are_passed_over():
    grid = window_grid((60, 20), (10, 10), (0.5, 0.5))
    run = torch.zeros(11, 3, dtype=torch.bool)
    run[4, 1] = run[9, 2] = True
    found, expected = stitched(grid, (60, 20), run, 1, 0.0)
    torch.testing.assert_close(found, expected)


def test_a_map_without_windows_is_background():
    grid = window_grid((20, 20), (10, 10), (0.5, 0.5))
    found = MapStitcher(2, (20, 20), grid, torch.ones(10, 10), [3.0, 4.0], torch.device("cpu")).mean()
    assert torch.equal(found, torch.tensor([3.0, 4.0])[:, None, None].expand(2, 20, 20))


@pytest.mark.parametrize("background", [[1.0, 2.0, 3.0], []], ids=["three", "none"])
def test_background_that_does_not_divide_the_channels_is_refused(background):
    grid = window_grid((20, 20), (10, 10), (0.5, 0.5))
    with pytest.raises(ValueError, match=f"{len(background)} background values .* 4 channels"):
        MapStitcher(4, (20, 20), grid, torch.ones(10, 10), background, torch.device("cpu"))
