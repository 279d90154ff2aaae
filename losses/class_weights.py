"""Weights of classes from the shares of their pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tinylesions.datasets.errors import InputError

__all__ = ["class_weights"]


def class_weights(frequencies: Sequence[float], scheme: int) -> list[float]:
    """Return a weight for each class by one of the six schemes of the class imbalance paper (004), section 4.4.

    With f the class's share of all pixels: 1 equal; 2 balanced, 1 / f; 3 exp(e·f); 4 exp(−e·f); 5 as 4 with the share
    of the foreground's pixels for each class but the background, and with f for the background; 6 as 5 with 0 for the
    background. Table 4.11 has 4 to 6 for CoNIC.

    Of a class without a pixel nothing can be learnt: scheme 2, whose weight would be infinite, gives it 0.

    Args:
        frequencies: pixels of each class, or their shares, the background first.
        scheme: 1 to 6.

    Returns:
        The weights in the order of the classes, 1 in sum.

    Raises:
        InputError: there is no such scheme; no class has a pixel, or for schemes 5 and 6 none but the background.
        ValueError: a frequency is negative or NaN.

    Example:
        >>> [round(weight, 4) for weight in class_weights([98, 1, 1], scheme=5)]
        [0.1194, 0.4403, 0.4403]
    """
    if scheme not in _SCHEMES:
        raise InputError(f"there is no scheme {scheme!r} of class weights: choose one of 1 to 6.")
    if not all(0 <= frequency < math.inf for frequency in frequencies):
        raise ValueError(f"frequencies must be numbers of 0 or more, not {list(frequencies)}.")
    return _shares(_SCHEMES[scheme](_shares(frequencies)))


def _shares(numbers: Sequence[float]) -> list[float]:
    total = math.fsum(numbers)
    if total == 0:
        raise InputError("the classes have no pixels to weigh them by: check the label maps and the class names.")
    return [number / total for number in numbers]


def _falling(shares: Sequence[float]) -> list[float]:
    return [math.exp(-math.e * share) for share in shares]


_SCHEMES: dict[int, Callable[[list[float]], list[float]]] = {
    1: lambda shares: [1.0] * len(shares),
    2: lambda shares: [1 / share if share else 0.0 for share in shares],
    3: lambda shares: [math.exp(math.e * share) for share in shares],
    4: _falling,
    5: lambda shares: _falling([shares[0], *_shares(shares[1:])]),
    6: lambda shares: [0.0, *_falling(_shares(shares[1:]))],
}
