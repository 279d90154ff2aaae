"""Holds out a share of a training set at random, so that each grade, or each label, keeps its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import chain, combinations

import numpy as np

__all__ = ["VALIDATION_SHARE", "multilabel_split", "stratified_split"]

VALIDATION_SHARE = 0.2
"""The share of the official training photos that validates: 8:2 in the grading paper (003, section 4.1.1)."""


def stratified_split(grades: Mapping[str, int], share: float, seed: int = 0) -> set[str]:
    """Draw the keys that are held out.

    Of the n keys of a grade, round(share · n) are held out, but one at least and n - 1 at most; a grade with a single
    key stays with the others. Where that would hold out nothing, one key of all is, so that a handful of photos can be
    split, too. Keys are sorted before they are drawn: the order of the mapping, hence of a file system, plays no part.
    Each grade is drawn by itself, so that keys of one grade do not change the choice in another.

    Args:
        grades: key (a photo, or a patient) -> grade.
        share: of the keys that is held out, above 0 and below 1.
        seed: the same seed and keys give the same choice.

    Returns:
        the held-out keys; empty for less than two keys.

    Raises:
        ValueError: a share out of range.

    Example:
        >>> held_out = stratified_split({f"eye_{n}": n % 2 for n in range(20)}, share=0.2)
        >>> len(held_out), sorted(int(key[4:]) % 2 for key in held_out)
        (4, [0, 0, 1, 1])
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be above 0 and below 1, not {share}")
    held_out: set[str] = set()
    for grade in sorted(set(grades.values())):
        keys = sorted(key for key, other in grades.items() if other == grade)
        count = min(max(round(share * len(keys)), 1), len(keys) - 1)
        rng = np.random.default_rng([seed, grade])
        held_out |= {keys[index] for index in rng.choice(len(keys), count, replace=False)}
    if not held_out and len(grades) > 1:
        keys = sorted(grades)
        held_out = {keys[np.random.default_rng(seed).integers(len(keys))]}
    return held_out


def multilabel_split(labels: Mapping[str, Collection[str]], share: float, seed: int = 0) -> set[str]:
    """Draw the keys that are held out, where a key has none, one or several of a few labels.

    The keys of each combination of labels are split by `stratified_split`. Of the combinations too rare for that, whose
    share rounds to none, at most as many keys as there are labels are held out (one, where there are no labels). They
    are chosen so that both sides have a key; then, what matters most first: that a label of several keys is held out;
    that every label is kept, too; that a combination of a single key is kept; and that the labels keep their shares.

    Args:
        labels: key (an image) -> its labels (its lesions), up to three different ones in all.
        share: of the keys that is held out, above 0 and below 1.
        seed: the same seed and keys give the same choice.

    Returns:
        the held-out keys; empty for less than two keys.

    Raises:
        ValueError: a share out of range, or more than three labels: too many combinations to try.

    Example:
        >>> held_out = multilabel_split({"1": ["a"], "2": ["b"], "3": ["a", "b"]}, share=0.2)
        >>> sorted(held_out)
        ['3']
    """
    names = sorted(set(chain.from_iterable(labels.values())))
    if len(names) > 3:
        raise ValueError(f"up to three labels can be combined, not {', '.join(names)}")
    codes = {key: sum(2 ** names.index(name) for name in set(own)) for key, own in labels.items()}
    counts = Counter(codes.values())
    common = {code for code, count in counts.items() if count > 1 and round(share * count) >= 1}
    held_out = stratified_split({key: code for key, code in codes.items() if code in common}, share, seed)
    rare = sorted(key for key, code in codes.items() if code not in common)
    rare = [rare[index] for index in np.random.default_rng(seed).permutation(len(rare))]
    choices = chain.from_iterable(combinations(rare, size) for size in range(max(len(names), 1) + 1))
    return min((held_out | set(choice) for choice in choices), key=lambda choice: _faults(choice, labels, share))


def _faults(held_out: set[str], labels: Mapping[str, Collection[str]], share: float) -> tuple[float, ...]:
    """Return how much is wrong with a choice in each of the respects that `multilabel_split` lists."""
    counts = Counter(chain.from_iterable(map(set, labels.values())))
    held = Counter(chain.from_iterable(set(labels[key]) for key in held_out))
    combinations_ = Counter(frozenset(own) for own in labels.values())
    strays = [len(held_out) - share * len(labels), *(held[name] - share * count for name, count in counts.items())]
    return (
        not held_out or len(held_out) == len(labels),
        sum(count > 1 and held[name] == 0 for name, count in counts.items()),
        sum(held[name] == count for name, count in counts.items()),
        sum(combinations_[frozenset(labels[key])] == 1 for key in held_out),
        round(sum(map(abs, strays)), 9),  # sums of one value in another order are ties
    )
