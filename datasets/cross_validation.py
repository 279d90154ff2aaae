"""Deals photos to the folds of a cross-validation, so that each fold gets its share of the rare lesions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .errors import InputError
from .masks import label_masks, lesions_of
from .photos import natural_key

__all__ = ["cross_validation_split", "deal_folds", "hold_out_fold"]


def deal_folds(
    items: Iterable[Mapping[str, Any]], folds: int = 5, lesions: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Give every photo that is not for testing a ``fold``; nothing is drawn at random.

    Photos are dealt like cards, one to each fold in turn: first those with a mask of the rarest lesion (that with the
    fewest photos), then those with the next rarest that are not dealt yet, and so on, those without a mask last; each
    group in the natural order of ids, beginning where the one before stopped. A black mask counts as a mask.

    Args:
        items: a datalist. Items whose ``split`` is ``"test"`` are left out.
        folds: how many, 2 or more.
        lesions: those whose photos are spread, all that the labels name by default.

    Returns:
        the items in their order, each with ``fold``, 0 to folds - 1; the folds' sizes differ by one at most.

    Raises:
        InputError: there are fewer photos than folds, or no masks.
        ValueError: `folds` is below 2.

    Example:
        >>> rare, common = {"soft_exudate": "s.png", "haemorrhage": "h.png"}, {"haemorrhage": "h.png"}
        >>> items = [{"id": f"{n}", "label": rare if n in (2, 3) else common} for n in range(1, 7)]
        >>> [item["fold"] for item in deal_folds(items, folds=2)]
        [0, 0, 1, 1, 0, 1]
    """
    if folds < 2:
        raise ValueError(f"a cross-validation has 2 folds or more, not {folds}")
    dealt = [item for item in items if item.get("split") != "test"]
    if len(dealt) < folds:
        raise InputError(
            f"{folds} folds need {folds} photos or more, not {len(dealt)}; add photos or choose fewer folds"
        )
    names = lesions_of(dealt) if lesions is None else list(lesions)
    counts = Counter(lesion for item in dealt for lesion in label_masks(item.get("label", {})))
    rarest_first = sorted(names, key=lambda lesion: counts[lesion])

    def group(item: Mapping[str, Any]) -> int:
        masks = item.get("label", {})
        return next((place for place, lesion in enumerate(rarest_first) if lesion in masks), len(rarest_first))

    order = sorted(range(len(dealt)), key=lambda index: (group(dealt[index]), natural_key(dealt[index]["id"])))
    fold_of = {index: place % folds for place, index in enumerate(order)}
    return [{**item, "fold": fold_of[index]} for index, item in enumerate(dealt)]


def hold_out_fold(items: Iterable[Mapping[str, Any]], fold: int | None) -> list[dict[str, Any]]:
    """Return the photos of a cross-validation, those of one fold for validation and the others for training.

    Args:
        items: what `deal_folds` gave; items whose ``split`` is ``"test"`` are left out.
        fold: that validates; None where all photos train and none validates.

    Raises:
        InputError: there is no such fold.
    """
    dealt = [item for item in items if item.get("split") != "test"]
    there = sorted({item["fold"] for item in dealt})
    if fold is not None and fold not in there:
        raise InputError(
            f"there is no fold {fold}: choose one of {', '.join(map(str, there))}, or none to train on all."
        )
    return [{**item, "split": "validation" if item["fold"] == fold else "training"} for item in dealt]


def cross_validation_split(
    items: Iterable[Mapping[str, Any]], fold: int | str | None = None, folds: int = 5
) -> list[dict[str, Any]]:
    """Return the photos with the splits that a config's ``fold`` asks for.

    Args:
        items: a datalist.
        fold: None for the data set's own splits; a number for a cross-validation in which that fold validates;
            ``"all"`` where all photos that are not for testing train and none validates.
        folds: how many there are.

    Raises:
        InputError: there is no such fold, or there are fewer photos than folds.
    """
    if fold is None:
        return [dict(item) for item in items]
    if fold == "all":
        return [{**item, "split": "training"} for item in items if item["split"] != "test"]
    if not isinstance(fold, int):
        raise InputError(f"fold is a number below {folds}, or 'all' to train on all photos, not {fold!r}.")
    return hold_out_fold(deal_folds(items, folds), fold)
