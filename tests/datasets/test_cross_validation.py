"""Photos are dealt to folds as cards are, the rarest lesion's first."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tinylesions.datasets import (
    LESIONS,
    InputError,
    cross_validation_split,
    deal_folds,
    hold_out_fold,
    idrid_segmentation,
    lesion_rarity,
    rarity_weights,
)

SOFT = (3, 8, 13, 14, 17, 18, 19)
FOLDS = [(3, 18, 5, 11), (8, 19, 6, 12), (13, 1, 7, 15), (14, 2, 9, 16), (17, 4, 10, 20)]


def item(name: str, *lesions: str, split: str = "training") -> dict:
    return {"id": name, "image": f"{name}.jpg", "label": dict.fromkeys(lesions, "m.png"), "split": split}


@pytest.fixture
def photos() -> list[dict]:
    return [item(f"IDRiD_{n:02}", *LESIONS[: 4 if n in SOFT else 3]) for n in range(1, 21)]


def folds_of(items: list[dict]) -> list[set[int]]:
    return [{int(i["id"][-2:]) for i in items if i["fold"] == fold} for fold in range(5)]


def test_folds_of_twenty_photos(photos):
    dealt = deal_folds(photos)
    assert folds_of(dealt) == [set(fold) for fold in FOLDS]
    assert [{key: value for key, value in i.items() if key != "fold"} for i in dealt] == photos
    assert "fold" not in photos[0]


@pytest.mark.filterwarnings("ignore:.*where the paper has:UserWarning")
def test_folds_of_real_photos(real_data):
    first = [i for i in idrid_segmentation(real_data / "idrid") if int(i["id"][-2:]) <= 20]
    assert folds_of(deal_folds(first)) == [set(fold) for fold in FOLDS]


def test_the_order_of_the_datalist_plays_no_part(photos):
    mixed = random.Random(0).sample(photos, len(photos))
    assert folds_of(deal_folds(mixed)) == folds_of(deal_folds(photos))
    assert [i["id"] for i in deal_folds(mixed)] == [i["id"] for i in mixed]


def literal_deal(items: list[dict], folds: int) -> dict[str, int]:
    """One card after the other from one pile for each lesion; ids of one length sort by alphabet."""
    pile = sorted(items, key=lambda i: i["id"])
    holders = {lesion: [i["id"] for i in pile if lesion in i["label"]] for i in pile for lesion in i["label"]}
    alphabet = [*LESIONS, "atrophy", "drusen"]
    hands: dict[str, int] = {}
    for lesion in sorted(holders, key=lambda name: (len(holders[name]), alphabet.index(name))):
        for name in holders[lesion]:
            if name not in hands:
                hands[name] = len(hands) % folds
    for i in pile:
        if i["id"] not in hands:
            hands[i["id"]] = len(hands) % folds
    return hands


@pytest.mark.parametrize("seed", range(6))
def test_as_dealing_card_by_card(seed):
    rng = random.Random(seed)
    names = [*LESIONS, "drusen", "atrophy"]
    items = [item(f"eye_{n:02}", *(name for name in names if rng.random() < 0.3)) for n in range(23)]
    folds = rng.randint(2, 6)
    dealt = deal_folds(rng.sample(items, 23), folds)
    assert {i["id"]: i["fold"] for i in dealt} == literal_deal(items, folds)
    sizes = Counter(i["fold"] for i in dealt)
    assert max(sizes.values()) - min(sizes.values()) <= 1
    # the rarest lesion is spread as evenly as can be
    rarest = min(names, key=lambda name: sum(name in i["label"] for i in items))
    spread = [sum(rarest in i["label"] for i in dealt if i["fold"] == fold) for fold in range(folds)]
    assert max(spread) - min(spread) <= 1


def test_natural_order_named_lesions_and_photos_without_masks():
    items = [item("p10", "drusen"), item("p9"), item("p2", "drusen", "atrophy"), item("p1", "drusen"), item("p11")]
    del items[1]["label"]
    assert {i["id"]: i["fold"] for i in deal_folds(items, 2)} == {"p2": 0, "p1": 1, "p10": 0, "p9": 1, "p11": 0}
    folds = {i["id"]: i["fold"] for i in deal_folds(items, 2, lesions=["drusen"])}
    assert folds == {"p1": 0, "p2": 1, "p10": 0, "p9": 1, "p11": 0}


def test_photos_for_testing_are_left_out(photos):
    more = [item("IDRiD_00", "soft_exudate", split="test"), *photos]
    assert deal_folds(more) == deal_folds(photos)
    dealt = deal_folds(photos)
    assert hold_out_fold([{**more[0], "fold": 0}, *dealt], 0) == hold_out_fold(dealt, 0)


def test_one_fold_validates(photos):
    dealt = deal_folds(photos)
    validated = []
    for fold, numbers in enumerate(FOLDS):
        items = hold_out_fold(dealt, fold)
        assert [i["id"] for i in items] == [i["id"] for i in photos]
        held_out = {int(i["id"][-2:]) for i in items if i["split"] == "validation"}
        assert held_out == set(numbers)
        assert sum(i["split"] == "training" for i in items) == 16
        validated += held_out
    assert sorted(validated) == list(range(1, 21))
    assert {i["split"] for i in hold_out_fold(dealt, None)} == {"training"}
    assert len(hold_out_fold(dealt, None)) == 20


def test_too_few_photos_and_folds_that_are_not_there(photos):
    with pytest.raises(InputError, match="5 folds need 5 photos or more, not 4; add photos or"):
        deal_folds(photos[:4])
    assert len({i["fold"] for i in deal_folds(photos[:5])}) == 5
    with pytest.raises(ValueError, match="2 folds or more, not 1"):
        deal_folds(photos, 1)
    with pytest.raises(InputError, match="no photo of the data set has a mask"):
        deal_folds([item(f"p{n}") for n in range(5)])
    for fold in (5, -1):
        with pytest.raises(InputError, match=f"no fold {fold}: choose one of 0, 1, 2, 3, 4, or none"):
            hold_out_fold(deal_folds(photos), fold)


def splits(items: list[dict]) -> dict[str, str]:
    return {i["id"]: i["split"] for i in items}


def test_the_splits_that_a_config_asks_for(photos):
    own = [*photos[:18], {**photos[18], "split": "validation"}, {**photos[19], "split": "test"}]
    assert cross_validation_split(own) == cross_validation_split(own, None, 2) == own
    assert splits(cross_validation_split(own, "all")) == dict.fromkeys([i["id"] for i in own[:19]], "training")
    assert splits(own)["IDRiD_19"] == "validation", "what was given stays as it is"
    hands = literal_deal(own[:19], 3)
    for fold in range(3):
        found = cross_validation_split(own, fold, 3)
        assert [i["id"] for i in found] == list(splits(own))[:19]
        assert splits(found) == {name: "validation" if hand == fold else "training" for name, hand in hands.items()}
    assert splits(cross_validation_split(photos, 1)) == {
        i["id"]: "validation" if int(i["id"][-2:]) in FOLDS[1] else "training" for i in photos
    }


@pytest.mark.parametrize("fold", ["1", "none", 1.0, 7])
def test_a_fold_that_is_none(photos, fold):
    with pytest.raises(InputError, match=f"{fold}"):
        cross_validation_split(photos, fold)


def test_rare_lesions_are_drawn_more_often(photos):
    weights = rarity_weights(photos, LESIONS)
    assert sum(weights) == pytest.approx(1)
    # half alike, an eighth for each lesion: three lesions on all 20 photos, the fourth on 7
    of_soft, of_others = (0.5 / 20 + 3 * 0.125 / 20 + 0.125 / 7, 0.5 / 20 + 3 * 0.125 / 20)
    for n, weight in enumerate(weights, start=1):
        assert weight == pytest.approx(of_soft if n in SOFT else of_others)


@pytest.mark.parametrize("seed", range(3))
def test_as_drawing_first_the_lesion_and_then_the_photo(seed):
    """The share of each photo in very many draws, each as the docstring has it, counted without drawing."""
    rng = random.Random(seed)
    names = [*LESIONS, "drusen"]
    items = [item(f"p{n}", *(name for name in names if rng.random() < 0.4)) for n in range(9)]
    items[0]["label"] = dict.fromkeys(names, "m.png")
    del items[1]["label"]
    draws: Counter[str] = Counter()
    for _ in range(60):  # as many alike …
        for i in items:
            draws[i["id"]] += 1 / len(items)
    for name in names:  # … as for all lesions together
        holders = [i["id"] for i in items if name in i.get("label", {})]
        for holder in holders:
            draws[holder] += 60 / len(names) / len(holders)
    found = rarity_weights(items, names)
    assert found == pytest.approx([draws[i["id"]] / 120 for i in items])
    assert sum(found) == pytest.approx(1)
    assert min(found) == found[1] == pytest.approx(0.5 / 9)
    # a lesion that no photo has draws none
    assert sum(rarity_weights(items, [*names, "atrophy"])) == pytest.approx(1 - 0.5 / 6)


def test_rarity_of_lesions(photos):
    assert lesion_rarity(photos, [*LESIONS, "drusen"]) == [1 / 20, 1 / 20, 1 / 20, 1 / 7, 1]
    assert lesion_rarity([{}], ["drusen"]) == [1]
