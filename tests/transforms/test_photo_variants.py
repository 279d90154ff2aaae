from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, Lambdad

from tinylesions.transforms import VARIANTS, PhotoVariantsDataset, photo_variant

TRUTH = {
    "identity": lambda a: a,
    "horizontal_flip": lambda a: a[:, :, ::-1],
    "vertical_flip": lambda a: a[:, ::-1],
    "rotation_90": lambda a: a.transpose(0, 2, 1)[:, ::-1],
    "rotation_180": lambda a: a[:, ::-1, ::-1],
    "rotation_270": lambda a: a.transpose(0, 2, 1)[:, :, ::-1],
}


def test_the_six_are_what_their_names_say():
    image = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)
    assert tuple(TRUTH) == VARIANTS
    variants = [photo_variant(image, number) for number in range(6)]
    for name, turned in zip(VARIANTS, variants, strict=True):
        np.testing.assert_array_equal(turned.numpy(), TRUTH[name](image.numpy()))
        assert turned.dtype == image.dtype
        assert turned.is_contiguous()
        assert turned.data_ptr() != image.data_ptr()
    assert len({(tuple(turned.shape), tuple(turned.flatten().tolist())) for turned in variants}) == 6


def test_rotation_is_counter_clockwise():
    corner = torch.zeros(1, 3, 5)
    corner[0, 0, -1] = 1  # top right
    turned = photo_variant(corner, VARIANTS.index("rotation_90"))
    assert turned.nonzero().tolist() == [[0, 0, 0]]  # top left


@pytest.mark.parametrize("variant", [-1, 6])
def test_no_such_variant(variant):
    with pytest.raises(ValueError, match="0 to 5"):
        photo_variant(torch.zeros(1, 2, 2), variant)


class Loads:
    """Makes a photo and a mask of a number, and counts how often."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def __call__(self, number: int) -> MetaTensor:
        self.counts[number] += 1
        generator = torch.Generator().manual_seed(number)
        return MetaTensor(torch.rand(1, 4, 6, generator=generator))


def make(photos: int, cache_rate: float) -> tuple[PhotoVariantsDataset, Loads, list[dict]]:
    load = Loads()
    data = [
        {"image": number, "label": number, "other": MetaTensor(torch.ones(1)), "id": f"{number}"}
        for number in range(photos)
    ]
    transform = Compose([Lambdad("image", load), Lambdad("label", lambda number: Loads()(number) > 0.5)])
    keys = ["image", "label"]
    return PhotoVariantsDataset(data, transform, keys, cache_rate=cache_rate, progress=False), load, data


@pytest.mark.parametrize("cache_rate", [0, 0.5, 1.0])
def test_items(cache_rate):
    dataset, _, data = make(4, cache_rate)
    assert len(dataset) == 24
    assert dataset.data is data
    assert dataset.cache_num == 4 * cache_rate
    for index, item in enumerate(dataset):
        photo = Loads()(index // 6).numpy()
        expected = TRUTH[VARIANTS[index % 6]](photo)
        np.testing.assert_array_equal(item["image"].numpy(), expected)
        np.testing.assert_array_equal(item["label"].numpy(), expected > 0.5)
        assert type(item["image"]) is type(item["label"]) is torch.Tensor
        assert (item["id"], item["other"]) == (str(index // 6), data[0]["other"])
    assert index == 23


@pytest.mark.parametrize(("cache_rate", "loads"), [(1.0, 1), (0, 12)])
def test_a_cached_photo_is_loaded_once(cache_rate, loads):
    dataset, load, _ = make(3, cache_rate)
    for _ in range(2):
        for index in range(len(dataset)):
            dataset[index]
    assert load.counts == dict.fromkeys(range(3), loads)


@pytest.mark.parametrize("cache_rate", [0, 1.0])
def test_indices_from_the_end_and_beyond(cache_rate):
    dataset, _, _ = make(2, cache_rate)
    assert torch.equal(dataset[-1]["image"], dataset[11]["image"])
    assert [item["id"] for item in dataset[5:7]] == ["0", "1"]
    for index in (12, -13):
        with pytest.raises(IndexError):
            dataset[index]


@pytest.mark.parametrize("cache_rate", [0, 1.0])
def test_a_shuffled_loader_visits_each_once(cache_rate):
    dataset, _, _ = make(3, cache_rate)
    seen = [item["image"][0].numpy().tobytes() for item in DataLoader(dataset, batch_size=1, shuffle=True)]
    expected = [dataset[index]["image"].numpy().tobytes() for index in range(18)]
    assert sorted(seen) == sorted(expected)
    assert len(set(seen)) == 18
    assert seen != expected


def test_what_is_done_to_an_item_does_not_reach_the_cache():
    dataset, _, _ = make(1, 1.0)
    before = dataset[0]["image"].clone()
    dataset[0]["image"].zero_()
    assert torch.equal(dataset[0]["image"], before)
    assert before.any()
