"""Each epoch has its own random numbers, whatever ran before it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from monai.transforms import Compose, RandGaussianNoised

from tinylesions.handlers import EpochSeed


def draw(handler: EpochSeed, epoch: int) -> tuple[float, float, float]:
    handler(SimpleNamespace(state=SimpleNamespace(epoch=epoch)))
    noise = handler.transforms({"image": torch.zeros(1, 2, 2)})["image"].sum()
    return float(torch.rand(())), float(np.random.rand()), float(noise)  # noqa: NPY002


def test_seeds_torch_numpy_and_transforms():
    handler = EpochSeed(5, Compose([RandGaussianNoised("image", prob=1)]))
    first, second = draw(handler, 1), draw(handler, 2)
    assert all(a != b for a, b in zip(first, second, strict=True))
    again = EpochSeed(5, Compose([RandGaussianNoised("image", prob=1)]))
    assert draw(again, 2) == second
    assert draw(again, 1) == first
    assert draw(EpochSeed(6, Compose([RandGaussianNoised("image", prob=1)])), 1) == second  # seed + epoch


def test_without_transforms_the_order_of_photos_is_still_seeded():
    handler = EpochSeed(5)
    engine = SimpleNamespace(state=SimpleNamespace(epoch=3))
    handler(engine)
    first = torch.randperm(50)
    handler(engine)
    assert torch.equal(torch.randperm(50), first)
