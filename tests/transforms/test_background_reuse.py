"""Logits of two networks become probabilities, and these become three class maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Resized

from tinylesions.datasets import InputError
from tinylesions.transforms import NucleiClassMapsd, NucleiProbabilitiesd, nuclei_results, reuse_background

BOTH = ["multi_class", "binary"]


def logits(channels: int, size: tuple[int, int] = (5, 6), seed: int = 0) -> torch.Tensor:
    return 4 * torch.randn(channels, *size, generator=torch.Generator().manual_seed(seed))


def literal(pixel: list[float], classes: int, binary: bool) -> tuple[list[float], dict[str, int]]:
    """One pixel's probabilities and classes, by the words of the paper."""
    exponentials = [math.exp(value) for value in pixel[:classes]]
    probabilities = [value / sum(exponentials) for value in exponentials]
    result = {}
    if classes:
        result["multi_class"] = probabilities.index(max(probabilities))
    if binary:
        probabilities.append(1 / (1 + math.exp(-pixel[-1])))
        result["binary"] = 1 if probabilities[-1] > 0.5 else 0
    if classes and binary:
        result["combined"] = 0 if result["binary"] == 0 else result["multi_class"]
    return probabilities, result


@pytest.mark.parametrize(
    ("models", "classes", "binary"), [(BOTH, 7, True), (BOTH, 2, True), (BOTH[:1], 5, False), (BOTH[1:], 0, True)]
)
@pytest.mark.parametrize("kind", [torch.Tensor, MetaTensor])
def test_against_the_literal_words_pixel_by_pixel(models, classes, binary, kind):
    values = logits(classes + binary)
    data = NucleiProbabilitiesd("pred", models)({"pred": kind(values)})
    assert data["pred"].dtype == torch.float32
    assert isinstance(data["pred"], kind)
    maps = NucleiClassMapsd("pred", models)(data)
    assert set(maps) == {"pred", *nuclei_results(models)}
    for y, x in np.ndindex(5, 6):
        probabilities, result = literal(values[:, y, x].tolist(), classes, binary)
        assert data["pred"][:, y, x].tolist() == pytest.approx(probabilities, abs=1e-6)
        assert {name: maps[name][0, y, x].item() for name in result} == result
    for name in nuclei_results(models):
        assert maps[name].shape == (1, 5, 6)
        assert maps[name].dtype == torch.uint8


def test_every_case_of_the_equation():
    classes = torch.tensor([0, 0, 3, 3], dtype=torch.uint8)
    foreground = torch.tensor([0, 1, 0, 1], dtype=torch.uint8)
    combined = reuse_background(classes, foreground)
    assert combined.tolist() == [0, 0, 0, 3]
    assert combined.dtype == torch.uint8


def test_a_half_is_background():
    maps = NucleiClassMapsd("pred")({"pred": torch.tensor([0.1, 0.9, 0.5])[:, None, None]})
    assert [maps[name].item() for name in ("multi_class", "binary", "combined")] == [1, 0, 0]


def test_half_precision_is_computed_in_full():
    values = logits(4).bfloat16()
    found = NucleiProbabilitiesd("pred", BOTH)({"pred": values})["pred"]
    expected = NucleiProbabilitiesd("pred", BOTH)({"pred": values.double().float()})["pred"]
    assert torch.equal(found, expected)
    assert torch.allclose(found[:3].sum(0), torch.ones(5, 6))


@pytest.mark.parametrize("size", [[-1, -1], [16, 16]])
def test_predictions_come_back_to_the_tiles_own_size(size):
    preprocessing = Compose([Resized("image", spatial_size=size, mode="bilinear")])
    data = preprocessing({"image": MetaTensor(torch.rand(3, 25, 33))})
    network = torch.zeros(4, *data["image"].shape[1:])
    network[2], network[3] = 3, 50
    network[3, :, : network.shape[2] // 2] = -50
    data["pred"] = MetaTensor(network)
    after = Compose(
        [
            NucleiProbabilitiesd("pred", BOTH),
            Invertd("pred", preprocessing, "image", nearest_interp=False),
            NucleiClassMapsd("pred", BOTH),
        ]
    )(data)
    assert after["pred"].shape == (4, 25, 33)
    assert (after["multi_class"] == 2).all()
    assert (after["binary"][..., 18:] == 1).all()
    assert (after["binary"][..., :14] == 0).all()
    assert torch.equal(after["combined"], 2 * after["binary"])


@pytest.mark.parametrize("models", [["binary", "multi_class"], ["binary", "binary"]])
def test_models_in_another_order_than_their_channels(models):
    for transform in (NucleiProbabilitiesd, NucleiClassMapsd):
        with pytest.raises(ValueError, match="models are some of multi_class, binary, in this order"):
            transform("pred", models)


@pytest.mark.parametrize("models", [[], ["combined"], "multi"])
def test_models_that_there_are_not(models):
    for transform in (NucleiProbabilitiesd, NucleiClassMapsd):
        with pytest.raises(InputError, match=r"^models: .* choose multi_class or binary, or both"):
            transform("pred", models)


@pytest.mark.parametrize(("models", "channels"), [(BOTH, 2), (BOTH[:1], 1), (BOTH[1:], 2), (BOTH, 258)])
def test_channels_that_do_not_fit(models, channels):
    for transform in (NucleiProbabilitiesd, NucleiClassMapsd):
        with pytest.raises(ValueError, match=f"{channels} channels do not fit"):
            transform("pred", models)({"pred": torch.zeros(channels, 2, 2)})
