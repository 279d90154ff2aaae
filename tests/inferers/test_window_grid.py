from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from monai.data.utils import dense_patch_slices

from tinylesions.inferers.window_grid import WindowGrid, axis_starts, window_grid

OVERLAPS = [0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 0.999]
AXES = [(roi, roi + extra) for roi in (1, 2, 7, 16, 33) for extra in (0, 1, 2, 5, 16, 31, 32, 33, 64, 100)]


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_the_windows_are_those_of_monai(overlap):
    for roi, size in AXES:
        step = max(1, int(roi * (1 - overlap)))
        expected = [place.start for (place,) in dense_patch_slices((size,), (roi,), (step,))]
        assert list(axis_starts(size, roi, overlap)) == expected, (roi, size)


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_even_windows_cover_the_axis_in_as_many_steps_of_one_size(overlap):
    for roi, size in AXES:
        found = axis_starts(size, roi, overlap, "even")
        steps = {after - before for before, after in pairwise(found)}
        assert len(found) == len(axis_starts(size, roi, overlap))
        assert (found[0], found[-1] + roi) == (0, size)
        assert not steps or (min(steps) >= 1 and max(steps) <= roi and max(steps) - min(steps) <= 1), (roi, size)


def test_rows_and_columns_have_their_own_window_and_overlap():
    grid = window_grid((64, 50), (32, 20), (0.5, 0))
    assert grid.roi_size == (32, 20)
    assert grid.tops == (0, 16, 32)
    assert grid.lefts == (0, 20, 30)


@pytest.mark.parametrize("share", [0, 0.002, 0.05, 1])
@pytest.mark.parametrize(("size", "roi_size", "overlap"), [((61, 83), (16, 24), 0.3), ((40, 40), (40, 7), 0.5)])
@pytest.mark.parametrize("kind", ["monai", "even"])
def test_touching_finds_each_window_with_a_pixel_of_the_mask(size, roi_size, overlap, kind, share):
    mask = torch.rand(size, generator=torch.Generator().manual_seed(3)) < share
    grid = window_grid(size, roi_size, (overlap, overlap), kind)
    expected = [
        [bool(mask[top : top + roi_size[0], left : left + roi_size[1]].any()) for left in grid.lefts]
        for top in grid.tops
    ]
    assert grid.touching(mask).tolist() == expected


def test_touching_counts_more_pixels_than_a_float_can():
    mask = torch.ones(4100, 4100, dtype=torch.bool)  # 2 ** 24 and some
    mask[-8:] = False
    mask[-1, -1] = True
    assert window_grid((4100, 4100), (8, 8), (0, 0)).touching(mask)[-1].tolist() == [*[False] * 512, True]


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 1])
@pytest.mark.parametrize("kind", ["monai", "even"])
def test_segments_hold_each_window_once_where_it_lies(kind, share):
    grid = window_grid((61, 83), (16, 12), (0.3, 0.5), kind)
    run = torch.rand(len(grid.tops), len(grid.lefts), generator=torch.Generator().manual_seed(7)) < share
    run[0, 0] = run[-1, -1] = True
    rows, columns = run.nonzero().unbind(1)
    segments = grid.segments(rows, columns)
    assert [segment.first for segment in segments] == [0, *(segment.end for segment in segments[:-1])]
    assert segments[-1].end == len(rows)
    places = [(top, left + step * index) for top, left, step, first, end in segments for index in range(end - first)]
    starts = torch.tensor(grid.tops)[rows], torch.tensor(grid.lefts)[columns]
    assert places == list(zip(*(axis.tolist() for axis in starts), strict=True))


def test_neighbours_a_step_apart_are_one_segment():
    grid = window_grid((16, 84), (16, 16), (0, 0))  # five windows and a sixth drawn back
    rows, columns = torch.ones(1, 6).nonzero().unbind(1)
    assert grid.segments(rows, columns) == [(0, 0, 16, 0, 5), (0, 68, 1, 5, 6)]


def test_steps_that_differ_are_apart():
    grid = WindowGrid((0, 4), (0, 3, 6, 10, 14, 15, 15), (4, 4))
    rows, columns = torch.ones(2, 7).nonzero().unbind(1)
    found = [(first, end) for *_, first, end in grid.segments(rows, columns)]
    assert found[: len(found) // 2] == [(0, 3), (3, 5), (5, 6), (6, 7)]


@pytest.mark.parametrize("new", [(16, 48), (64, 12), (32, 24)])
def test_scaled_grid_lies_at_the_scaled_places(new):
    grid = window_grid((64, 48), (32, 24), (0.5, 0.5))
    scaled = grid.scaled(new)
    assert scaled.roi_size == new
    assert scaled.tops == tuple(start * new[0] // 32 for start in grid.tops)
    assert scaled.lefts == tuple(start * new[1] // 24 for start in grid.lefts)
