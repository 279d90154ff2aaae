"""The share that is held out keeps the grades' shares, whatever the order of the keys."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tinylesions.datasets.splits import stratified_split

IDRID = {0: 134, 1: 20, 2: 136, 3: 74, 4: 49}  # official training photos of each grade


def photos(counts: dict[int, int]) -> dict[str, int]:
    return {f"photo_{grade}_{number}": grade for grade, count in counts.items() for number in range(count)}


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_each_grade_keeps_its_share(share, seed):
    rng = np.random.default_rng(seed)
    counts = {grade: int(count) for grade, count in enumerate(rng.integers(2, 60, 5))}
    held_out = stratified_split(photos(counts), share, seed)
    found = Counter(int(key.split("_")[1]) for key in held_out)
    for grade, count in counts.items():
        assert abs(found[grade] - share * count) <= 1
        assert 0 < found[grade] < count


def test_idrid_is_split_330_to_83():
    held_out = stratified_split(photos(IDRID), 0.2)
    assert Counter(int(key.split("_")[1]) for key in held_out) == {0: 27, 1: 4, 2: 27, 3: 15, 4: 10}


def test_order_plays_no_part_and_the_seed_does():
    grades = photos(IDRID)
    names = list(grades)
    np.random.default_rng(5).shuffle(names)
    assert names != list(grades)
    first = stratified_split(grades, 0.2, seed=3)
    assert stratified_split({name: grades[name] for name in names}, 0.2, seed=3) == first
    assert stratified_split(grades, 0.2, seed=4) != first


def test_grades_are_drawn_by_themselves():
    more = stratified_split(photos({**IDRID, 1: 31}), 0.2)
    without = {name for name in stratified_split(photos(IDRID), 0.2) if "_1_" not in name}
    assert {name for name in more if "_1_" not in name} == without


def test_every_key_is_held_out_by_some_seed():
    grades = photos({0: 5, 3: 4})
    assert set().union(*(stratified_split(grades, 0.2, seed) for seed in range(60))) == set(grades)


def test_a_lone_key_stays_unless_nothing_would_be_held_out():
    assert all("_2_" not in name for name in stratified_split(photos({0: 10, 2: 1}), 0.5))
    alone = photos(dict.fromkeys(range(5), 1))
    assert len(stratified_split(alone, 0.2)) == 1
    assert stratified_split(alone, 0.2) == stratified_split(dict(reversed(alone.items())), 0.2)
    assert stratified_split({"one": 3}, 0.2) == stratified_split({}, 0.2) == set()


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_share_out_of_range(share):
    with pytest.raises(ValueError, match="share"):
        stratified_split({"a": 0, "b": 0}, share)
