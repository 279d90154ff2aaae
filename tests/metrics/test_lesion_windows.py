"""The windows with a lesion against a walk over the grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tinylesions.metrics.lesion_windows import lesion_window_pixels

from .cases import lesion_windows_of


@pytest.mark.parametrize("size", [(64, 64), (200, 330), (70, 500), (30, 20)])
@pytest.mark.parametrize("masked", [False, True])
def test_against_a_walk_over_the_grid(size, masked):
    rng = np.random.default_rng(sum(size))
    truth = rng.random((3, *size)) < 3e-5 * (1 + rng.random((3, 1, 1)))
    rows, columns = np.ogrid[: size[0], : size[1]]
    mask = np.hypot(rows / size[0] - 0.55, columns / size[1] - 0.48) < 0.4 if masked else np.ones(size, bool)
    truth[1, size[0] // 2, size[1] // 2] = True
    truth[2, 0, 0] = True  # outside of the box where there is a mask
    found = lesion_window_pixels(torch.from_numpy(truth), torch.from_numpy(mask)[None] if masked else None)
    expected = lesion_windows_of(truth, mask)
    assert expected.sum() > 0
    np.testing.assert_array_equal(found, expected)


def test_last_windows_end_with_the_box():
    truth, mask = torch.zeros(1, 200, 200, dtype=torch.uint8), torch.zeros(1, 200, 200, dtype=torch.uint8)
    mask[:, 10:110, 20:120] = 1
    truth[0, 109, 119] = 1
    found = lesion_window_pixels(truth, mask)
    assert found.sum() == 36 * 36
    assert found[74:110, 84:120].all()


def test_no_lesion_and_no_field_of_view():
    truth = torch.zeros(2, 80, 90)
    assert not lesion_window_pixels(truth).any()
    truth[0, 3, 4] = 1
    assert lesion_window_pixels(truth)[:64, :64].all()
    assert not lesion_window_pixels(truth, torch.zeros(1, 80, 90)).any()
