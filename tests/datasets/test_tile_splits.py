"""Tiles are split by whole sources, or at random, near the shares and for ever alike."""

from __future__ import annotations

from collections import Counter
from itertools import chain, combinations

import numpy as np
import pytest

from tinylesions.datasets import InputError
from tinylesions.datasets.tile_splits import split_tiles


def tiles(sizes: list[int]) -> list[dict]:
    return [
        {"id": f"{source}_{number}", "source": f"s{source}"}
        for source, size in enumerate(sizes)
        for number in range(size)
    ]


def split(sizes: list[int], rule: str = "source", validation: float = 0.1, test: float = 0.1, seed: int = 0) -> dict:
    found = split_tiles(tiles(sizes), rule, validation, test, seed, "name")
    assert sorted(item["id"] for item in found) == sorted(item["id"] for item in tiles(sizes))
    return {part: [item for item in found if item["split"] == part] for part in ("training", "validation", "test")}


def of(items: list[dict], key: str) -> list[str]:
    return [item[key] for item in items]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.2, 0.1), (0.1, 0.0), (0.0, 0.3), (0.5, 0.4), (0.0, 0.0)])
def test_no_source_in_two_splits_and_shares_as_near_as_possible(shares, seed):
    sizes = np.random.default_rng(seed + 100).integers(1, 40, 12).tolist()
    parts = split(sizes, "source", *shares, seed)
    sources = {part: set(of(items, "source")) for part, items in parts.items()}
    assert sum(map(len, sources.values())) == len(sizes)
    # every choice of sources that leaves one for each later split, tried one by one
    left = Counter(of(tiles(sizes), "source"))
    wanted = [(part, share) for part, share in (("test", shares[1]), ("validation", shares[0])) if share]
    for number, (part, share) in enumerate(wanted):
        most = len(left) - (len(wanted) - number)
        choices = chain.from_iterable(combinations(left, size) for size in range(1, most + 1))
        target = share * sum(sizes)
        nearest = min(abs(sum(left[source] for source in choice) - target) for choice in choices)
        assert abs(len(parts[part]) - target) == pytest.approx(nearest)
        for source in sources[part]:
            del left[source]
    assert sources["training"] == left.keys()
    for part, share in (("test", shares[1]), ("validation", shares[0])):
        assert bool(parts[part]) == bool(share)


@pytest.mark.parametrize("sizes", [[1, 1, 1], [50, 50, 1], [16, 16, 16], [1, 99, 100]])
@pytest.mark.parametrize("share", [0.01, 0.49])
def test_every_split_has_a_source_if_there_are_enough(sizes, share):
    assert all(len(set(of(items, "source"))) == 1 for items in split(sizes, "source", share, share).values())


@pytest.mark.parametrize(
    ("count", "shares", "counts"),
    [
        (100, (0.1, 0.1), (80, 10, 10)),
        (4981, (0.1, 0), (4483, 498, 0)),
        (7, (0.01, 0.5), (2, 1, 4)),
        (10, (0, 0), (10, 0, 0)),
    ],
)
def test_random_shares_of_the_tiles(count, shares, counts):
    parts = split([count // 2, count - count // 2], "random", *shares)
    assert tuple(map(len, parts.values())) in {counts, (counts[0] + 1, counts[1], counts[2] - 1)}


@pytest.mark.parametrize("rule", ["source", "random"])
def test_split_follows_the_seed_and_test_tiles_not_the_validation_share(rule):
    sizes = [3, 4, 5] * 10
    assert split(sizes, rule) == split(sizes, rule)
    assert split(sizes, rule, seed=1) != split(sizes, rule)
    assert split(sizes, rule, validation=0.4)["test"] == split(sizes, rule)["test"]
    for items in split(sizes, rule).values():
        places = [of(tiles(sizes), "id").index(item["id"]) for item in items]
        assert places == sorted(places)
    assert split(sizes, rule)["test"] != split(sizes, rule)["validation"]


def test_every_source_is_held_out_for_some_seed():
    held_out = {source for seed in range(100) for source in of(split([4] * 10, seed=seed)["test"], "source")}
    assert len(held_out) == 10


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.5, 0.5), (1, 0), (float("nan"), 0)])
def test_shares_out_of_range(shares):
    with pytest.raises(InputError, match="have to be 0 or more and leave something to train on"):
        split([1] * 9, "source", *shares)


def test_too_few_sources_and_unknown_rule():
    with pytest.raises(
        InputError, match=r"^name: 2 sources cannot be split into training and test and validation; add"
    ):
        split([50, 50])
    with pytest.raises(InputError, match=r"^name: 1 source cannot be split into training and validation; .* random$"):
        split([50], test=0)
    with pytest.raises(InputError, match=r"^name: 1 tile cannot be split"):
        split([1], "random")
    with pytest.raises(InputError, match="no split_rule 'patient': choose one of source, random"):
        split([50], "patient")
