"""Differences of scores against sources that are really repeated, and draws that pair up whatever is predicted."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from tinylesions.metrics import ClassOverlapMetric, NucleiQualityMetric
from tinylesions.metrics.drawn_score import DrawnScore

CLASSES = 4
NAMES = ["d", "b", "a", "c", "a", "b", "c", "e", "d", "e"]
SETTINGS = {"replicates": 50, "seed": 7}
METRICS = {"pixels": ClassOverlapMetric, "nuclei": NucleiQualityMetric}


def squares(classes: torch.Tensor) -> torch.Tensor:
    """Nuclei (N, 2, 12, 12) of 4 × 4 pixels each, of classes (N, 3, 3)."""
    large = classes.repeat_interleave(4, 1).repeat_interleave(4, 2)
    ids = torch.arange(9).view(3, 3).repeat_interleave(4, 0).repeat_interleave(4, 1) + 1
    return torch.stack([ids * (large > 0), large], dim=1)


def maps() -> dict[str, torch.Tensor]:
    """Nuclei (10, 2, 12, 12) of the truth and of two predictions, some torn and moved; no true one is of class 3."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, CLASSES - 1, (10, 3, 3), generator=generator)
    found = {"truth": squares(truth)}
    for name, right in (("first", 0.8), ("second", 0.6)):
        lot = torch.rand(truth.shape, generator=generator)
        wrong = torch.randint(0, CLASSES - 1, truth.shape, generator=generator)
        found[name] = squares(torch.where(lot < right, truth, wrong))
        found[name][:, :, :, [0, 5, 6, 11]] *= torch.rand(10, 1, 12, 1, generator=generator) < 0.7
    found["second"][3, 1, 0, :4] = 3
    found["second"][3, 0, 0, :4] = 99
    return found


MAPS = maps()


def measure(of: str, name: str, images: list[int], sources: list[str] | None, **settings) -> dict[str, DrawnScore]:
    nuclei = of == "nuclei"
    metric = METRICS[of](CLASSES - nuclei, **settings)
    pair = [MAPS[key][images] if nuclei else MAPS[key][images, 1:] for key in (name, "truth")]
    metric(*pair, sources=sources)
    return metric.drawn_scores()


def both(of: str, **settings) -> list[dict[str, DrawnScore]]:
    return [measure(of, name, list(range(10)), NAMES, **settings) for name in ("first", "second")]


@pytest.mark.parametrize("of", METRICS)
def test_differences_are_those_of_sources_really_repeated(of):
    first, second = both(of, **SETTINGS)
    parts = [[image for image in range(10) if NAMES[image] == name] for name in "abcde"]
    expected: dict[str, list[list[float]]] = {score: [] for score in first}
    for drawn in np.random.default_rng(7).multinomial(5, [1 / 5] * 5, size=50):
        images = [image for part, times in zip(parts, drawn, strict=True) for _ in range(times) for image in part]
        values = [measure(of, name, images, None, replicates=0) for name in ("first", "second")]
        for score, differences in expected.items():
            differences.append([a - b for a, b in zip(*(each[score].value.tolist() for each in values), strict=True)])
    absent = CLASSES - 1 - (of == "nuclei")  # predicted in the second only
    for score, differences in expected.items():
        found = first[score].minus(second[score]).estimate()
        np.testing.assert_allclose(found.value, first[score].value - second[score].value, atol=1e-12)
        known = [column for column in range(len(found.value)) if column != absent]
        low, high = np.nanpercentile(np.array(differences)[:, known], [2.5, 97.5], axis=0)
        np.testing.assert_allclose(found.low[known], low, atol=1e-12)
        np.testing.assert_allclose(found.high[known], high, atol=1e-12)
        assert second[score].value[absent] == 0
        assert all(end[absent].isnan() for end in found)
        # tiles that are hard for both do not widen it
        apart = [of_one[score].estimate() for of_one in (first, second)]
        assert found.low[-1] > apart[0].low[-1] - apart[1].high[-1]
        assert found.high[-1] < apart[0].high[-1] - apart[1].low[-1]


@pytest.mark.parametrize("of", METRICS)
def test_score_less_itself_is_nothing(of):
    for score in both(of, **SETTINGS)[1].values():
        nothing = score.minus(score).estimate()
        for end, of_score in zip(nothing, score.estimate(), strict=True):
            np.testing.assert_array_equal(end, of_score * 0)


def test_draws_are_the_same_sources_whatever_is_predicted():
    """The counts of the second prediction have the opposite order of those of the first."""
    truth = torch.ones(3, 1, 1, 4).long()
    draws = []
    for right in ((1, 2, 3), (3, 2, 1)):
        predicted = torch.stack([(torch.arange(4) < count).long() for count in right])[:, None, None]
        metric = ClassOverlapMetric(2, **SETTINGS)
        metric(predicted, truth, sources=["a", "b", "c"])
        draws.append(metric.drawn_scores()["recall"].draws[:, 1])
    # the shares are (a + 2b + 3c) / 12 and (3a + 2b + c) / 12 with a + b + c = 3
    np.testing.assert_allclose(draws[0] + draws[1], 1, atol=1e-12)
    assert draws[0].std() > 0.1


def same(one: dict[str, DrawnScore], other: dict[str, DrawnScore]) -> bool:
    """To the last bit."""
    return all(
        np.array_equal(getattr(one[score], part), getattr(other[score], part), equal_nan=True)
        for score in one
        for part in ("value", "draws", "known")
    )


@pytest.mark.parametrize("sources", [None, NAMES])
@pytest.mark.parametrize("of", METRICS)
def test_order_does_not_matter(of, sources):
    expected = measure(of, "second", list(range(10)), sources, **SETTINGS)
    for seed in range(5):
        images = random.Random(seed).sample(range(10), 10)
        names = sources and [sources[image] for image in images]
        assert same(measure(of, "second", images, names, **SETTINGS), expected)


def test_scores_that_do_not_pair():
    first, second = (scores["iou"] for scores in both("pixels", **SETTINGS))
    others = [
        measure("pixels", "second", list(range(9)), [*NAMES[:7], "f", "f"], **SETTINGS),
        measure("pixels", "second", list(range(10)), NAMES, replicates=50, seed=8),
        measure("pixels", "second", list(range(10)), NAMES, replicates=49, seed=7),
    ]
    for other in others:
        with pytest.raises(ValueError, match="the same named sources, columns and draws"):
            first.minus(other["iou"])
    unnamed = measure("pixels", "second", list(range(10)), None, **SETTINGS)["iou"]
    with pytest.raises(ValueError, match="the same named sources"):
        unnamed.minus(unnamed)
    with pytest.raises(ValueError, match="columns"):
        both("nuclei", **SETTINGS)[0]["pq"].minus(second)


def test_no_draws():
    first, second = (scores["iou"] for scores in both("pixels", replicates=0))
    found = first.minus(second).estimate()
    np.testing.assert_array_equal(found.value, first.value - second.value)
    assert torch.cat(found[1:]).isnan().all()


def _one_of_two(rank: int, store: str, results: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=Path(store).as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    images = list(range(rank, 10, 2))
    names = [NAMES[image] for image in images]
    found = {of: [measure(of, name, images, names, **SETTINGS) for name in ("first", "second")] for of in METRICS}
    torch.save(found, Path(results) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_give_what_one_gives(tmp_path):
    torch.multiprocessing.spawn(_one_of_two, (os.fspath(tmp_path / "store"), os.fspath(tmp_path)), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        for of in METRICS:
            for one, other in zip(found[of], both(of, **SETTINGS), strict=True):
                assert same(one, other)
