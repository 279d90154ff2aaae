"""Which photos of an iteration a metric may count: those whose label a person gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

__all__ = ["true_labels"]


def true_labels(keys: Sequence[str], weight_key: str) -> Callable[[Sequence[Mapping[str, Any]]], tuple[list[Any], ...]]:
    """An `output_transform` as ``from_engine(keys)``, of the photos with a true label only.

    A true label has weight exactly 1, an unknown one 0. One that a network wrote must weigh less than 1 wherever photos
    are scored. MONAI's metrics leave out an iteration whose lists are empty.

    Args:
        keys: the values to give.
        weight_key: the label's weight, a number or a tensor of one number, in the engine's output as the keys are.

    Returns:
        Takes an engine's decollated output, a dictionary a photo, and gives a list for each key, over those photos;
        empty lists where there is none. It can be pickled.

    Example:
        >>> photos = [{"pred": 0.2, "label": 0, "weight": 0.5}, {"pred": 0.9, "label": 1, "weight": 1.0}]
        >>> true_labels(["pred", "label"], "weight")(photos)
        ([0.9], [1])
    """
    return partial(_values, keys=tuple(keys), weight_key=weight_key)


def _values(output: Sequence[Mapping[str, Any]], keys: tuple[str, ...], weight_key: str) -> tuple[list[Any], ...]:
    photos = [photo for photo in output if float(photo[weight_key]) == 1]
    return tuple([photo[key] for photo in photos] for key in keys)
