"""Splits tiles into training, validation and test: by the tissue they were cut from, or at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import InputError

__all__ = ["SPLIT_RULES", "split_tiles"]

SPLIT_RULES = ("source", "random")
"""By whole sources, or as the class imbalance paper (004) does, whatever the source."""


def split_tiles(
    items: Sequence[dict[str, Any]],
    rule: str,
    validation_share: float,
    test_share: float,
    seed: int,
    name: str,
) -> list[dict[str, Any]]:
    """Give every item a ``split``.

    With ``"source"``, whole sources are held out: of the sources in random order those are taken whose tiles come
    nearest to the share, so that no tissue is in two splits. Neighbouring tiles look alike, and may even overlap:
    with ``"random"`` they fall on both sides, which flatters the scores. The test tiles are drawn first: another
    ``validation_share`` leaves them as they are.

    Args:
        items: with the key ``source``.
        rule: one of ``SPLIT_RULES``.
        validation_share: of the tiles, 0 to 1; 0 makes no such split, any other holds out one source, or tile, at
            least.
        test_share: likewise; both together are below 1.
        seed: the same seed, items and test share give the same test tiles.
        name: of the data set, for sentences.

    Returns:
        the items of training, validation and test one after the other, each in the order they had.

    Raises:
        InputError: an unknown rule, shares out of range, or too few sources for the splits.

    Example:
        >>> tiles = [{"id": str(number), "source": str(number // 4)} for number in range(40)]
        >>> Counter(tile["split"] for tile in split_tiles(tiles, "source", 0.1, 0.2, 0, "tiles"))
        Counter({'training': 28, 'test': 8, 'validation': 4})
    """
    if rule not in SPLIT_RULES:
        raise InputError(f"there is no split_rule {rule!r}: choose one of {', '.join(SPLIT_RULES)}.")
    shares = {"test": test_share, "validation": validation_share}
    if not all(0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise InputError(
            f"validation_share {validation_share} and test_share {test_share} have to be 0 or more and leave something"
            " to train on: choose shares whose sum is below 1."
        )
    # the unit that is held out as a whole
    units = [item["source"] for item in items] if rule == "source" else list(range(len(items)))
    counts = Counter(units)
    wanted = {split: share for split, share in shares.items() if share > 0}
    if len(counts) <= len(wanted):
        noun, remedy = ("source", "or choose split_rule random") if rule == "source" else ("tile", "or other shares")
        raise InputError(
            f"{name}: {len(counts)} {noun}{'' if len(counts) == 1 else 's'} cannot be split into training and"
            f" {' and '.join(wanted)}; add tiles, {remedy}"
        )
    order = list(counts)
    left = [(order[number], counts[order[number]]) for number in np.random.default_rng(seed).permutation(len(order))]
    split_of = dict.fromkeys(counts, "training")
    for number, (split, share) in enumerate(wanted.items()):
        needed_later = len(wanted) - number  # one unit for each later split and for the training
        chosen = _nearest(left, share * len(items), at_most=len(left) - needed_later)
        split_of.update(dict.fromkeys(chosen, split))
        left = [unit for unit in left if unit[0] not in chosen]
    splits = [split_of[unit] for unit in units]
    return [
        {**item, "split": split}
        for wanted_split in ("training", "validation", "test")
        for item, split in zip(items, splits, strict=True)
        if split == wanted_split
    ]


def _nearest(units: Sequence[tuple[Any, int]], target: float, at_most: int) -> set[Any]:
    """Return 1 to `at_most` of the units, the first ones if possible, whose sizes add up to nearly `target`."""
    limit = target + max(size for _, size in units)  # beyond it, leaving out any unit comes nearer
    sums: dict[int, tuple[Any, ...]] = {0: ()}  # each sum that some units have, and the first such units
    for unit, size in units:
        for total, chosen in list(sums.items()):
            if total + size <= limit and len(chosen) < at_most:
                sums.setdefault(total + size, (*chosen, unit))
        if round(target) in sums and round(target) > 0:
            break
    del sums[0]
    return set(sums[min(sums, key=lambda total: abs(total - target))])
