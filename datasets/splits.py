"""Holds out a share of a training set at random, so that each grade keeps its share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["VALIDATION_SHARE", "stratified_split"]

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
