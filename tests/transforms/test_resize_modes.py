"""Masks that were enlarged shrink to themselves."""

from __future__ import annotations

import itertools

import pytest
import torch

from tinylesions.transforms.resize_modes import enlarge_mask, resize_to_largest


@pytest.mark.parametrize(("size", "larger"), [((7, 9), (14, 18)), ((7, 9), (33, 20)), ((320, 320), (712, 1072))])
def test_an_enlarged_mask_shrinks_to_itself(size, larger):
    mask = (torch.rand(2, *size, generator=torch.Generator().manual_seed(0)) < 0.3).to(torch.uint8)
    enlarged = enlarge_mask(mask, larger)
    assert enlarged.shape == (2, *larger)
    torch.testing.assert_close(resize_to_largest(enlarged, size), mask)


def test_an_enlarged_mask_against_a_loop():
    mask = (torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.5).to(torch.uint8)
    height, width = 11, 10
    for y, x in itertools.product(range(height), range(width)):
        # new pixel y lies within y / height and (y + 1) / height of the old ones
        parts = [
            mask[0, row, column]
            for row in range(4)
            for column in range(5)
            if row * height < (y + 1) * 4
            and y * 4 < (row + 1) * height
            and column * width < (x + 1) * 5
            and x * 5 < (column + 1) * width
        ]
        assert enlarge_mask(mask, (height, width))[0, y, x] == min(parts)
