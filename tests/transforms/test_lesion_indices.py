"""Components against scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import CacheDataset
from scipy import ndimage
from skimage.measure import label, regionprops

from tinylesions.transforms import LesionIndicesd
from tinylesions.transforms.lesion_indices import lesion_indices


def blobs(seed: int, size: tuple[int, int] = (70, 90)) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(size), 2) > 0.15


@pytest.mark.parametrize("seed", range(3))
def test_components_are_those_of_scikit_image(seed):
    mask = blobs(seed)
    found = lesion_indices(mask)
    regions = regionprops(label(mask, connectivity=2))
    assert found.components == len(regions) > 5
    assert found.pixels.dtype == np.int32
    parts = {tuple(part) for part in np.split(found.pixels, found.bounds[1:-1])}
    assert parts == {tuple(sorted(row * 90 + column for row, column in region.coords)) for region in regions}


def test_no_lesion():
    found = lesion_indices(np.zeros((5, 7), dtype=np.uint8))
    assert (found.components, len(found.pixels)) == (0, 0)


@pytest.mark.parametrize("peak", [1, 255, 40])
def test_above_half_of_the_largest_value(peak):
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[2, 3] = peak
    mask[2, 4] = peak // 3
    assert lesion_indices(mask).pixels.tolist() == [2 * 8 + 3]


def test_each_channel_for_itself_and_the_cache_keeps_it():
    masks = np.stack([blobs(0), np.zeros((70, 90), bool), blobs(1)]).astype(np.uint8)
    (item,) = CacheDataset([{"label": torch.from_numpy(masks)}], LesionIndicesd(), progress=False)
    assert set(item) == {"label", "label_lesion_indices"}
    for mask, found in zip(masks, item["label_lesion_indices"], strict=True):
        np.testing.assert_array_equal(np.sort(found.pixels), np.flatnonzero(mask))
