"""The share that is held out keeps the shares of grades and of labels, whatever the order of the keys."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest

from tinylesions.datasets.splits import multilabel_split, stratified_split

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


DRAC = {"I": 86, "P": 106, "V": 35}  # of the 109 official training images (paper 002), those that hold each lesion
COMBINATIONS = [frozenset(some) for size in range(4) for some in combinations("IPV", size)]


def drac(seed: int) -> dict[str, set[str]]:
    """The paper's counts, each lesion in images drawn by itself."""
    rng = np.random.default_rng(seed)
    holders = {name: set(rng.choice(109, count, replace=False).tolist()) for name, count in DRAC.items()}
    return {str(key): {name for name in DRAC if key in holders[name]} for key in range(109)}


@pytest.mark.parametrize("seed", range(5))
def test_each_label_keeps_its_share(seed):
    labels = drac(seed)
    held_out = multilabel_split(labels, 0.2, seed)
    assert abs(len(held_out) - 0.2 * 109) <= 2
    for name, count in DRAC.items():
        assert abs(sum(name in labels[key] for key in held_out) - 0.2 * count) <= 2
    alone = [key for key, own in labels.items() if list(labels.values()).count(own) == 1]
    assert not held_out & set(alone)


def test_common_combinations_are_drawn_like_grades():
    labels = {f"{own}{number}": own for own in ("", "I", "IPV") for number in range(20)}
    grades = {key: {"": 0, "I": 1, "IPV": 7}[own] for key, own in labels.items()}
    assert multilabel_split(labels, 0.2, 4) == stratified_split(grades, 0.2, 4)


def test_order_plays_no_part_in_labels_and_the_seed_does():
    labels = drac(0)
    names = list(labels)
    np.random.default_rng(5).shuffle(names)
    first = multilabel_split(labels, 0.2, 3)
    assert multilabel_split({name: sorted(labels[name])[::-1] for name in names}, 0.2, 3) == first
    assert multilabel_split(labels, 0.2, 4) != first
    few = {str(key): "IPV" for key in range(2)}
    assert {min(multilabel_split(few, 0.2, seed)) for seed in range(20)} == {"0", "1"}


def sides_of(held_out: set[str], labels: dict[str, frozenset[str]]) -> tuple[int, int]:
    """How many labels of several keys are held out, and how many labels are kept."""
    holders = {name: {key for key, own in labels.items() if name in own} for name in "IPV"}
    several = sum(len(keys) > 1 and bool(keys & held_out) for keys in holders.values())
    return several, sum(bool(keys - held_out) for keys in holders.values())


@pytest.mark.parametrize(("count", "share"), [(2, 0.2), (3, 0.2), (4, 0.2), (5, 0.2), (3, 0.8)])
def test_a_handful_is_split_as_well_as_it_can_be(count, share):
    # every set of so few images against every possible split of it
    keys = [str(number) for number in range(count)]
    splits = [set(split) for size in range(1, count) for split in combinations(keys, size)]
    for own in combinations_with_replacement(COMBINATIONS, count):
        labels = dict(zip(keys, own, strict=True))
        found = multilabel_split(labels, share)
        assert 0 < len(found) < count
        assert sides_of(found, labels) == max(sides_of(split, labels) for split in splits)


def test_labels_of_rare_combinations_keep_their_shares():
    labels = {f"{''.join(sorted(own))}{number}": own for own in COMBINATIONS for number in range(2)}
    for seed in range(5):
        held_out = multilabel_split(labels, 0.2, seed)
        assert len(held_out) == 3
        assert all(1 <= sum(name in labels[key] for key in held_out) <= 2 for name in "IPV")  # 1.6 of 8


def test_too_few_keys_and_too_many_labels():
    assert multilabel_split({}, 0.2) == multilabel_split({"a": "I"}, 0.2) == set()
    assert len(multilabel_split({"a": "", "b": ""}, 0.2)) == 1
    with pytest.raises(ValueError, match="up to three labels"):
        multilabel_split({"a": "IPV", "b": "X"}, 0.2)
    with pytest.raises(ValueError, match="share"):
        multilabel_split({"a": "I", "b": "I"}, 1.5)
