"""Photos are dealt to folds as cards are, the rarest lesion's first."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tinylesions.datasets import LESIONS, InputError, deal_folds, hold_out_fold, idrid_segmentation

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
