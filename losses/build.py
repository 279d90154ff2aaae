"""Build the sum of losses that a user named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from tinylesions.datasets.errors import InputError
from tinylesions.losses.compound import CompoundLoss

__all__ = ["build_loss"]


def build_loss(types: Mapping[str, Callable[[], nn.Module]], names: Sequence[str]) -> CompoundLoss:
    """Return the sum of the named losses.

    Args:
        types: name → what builds the loss.
        names: of the losses to sum, each once.

    Raises:
        InputError: none is named, one twice, or one that there is not.
    """
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in types:
            raise InputError(f"there is no loss {name!r}: choose one or several of {', '.join(types)}.")
    if not names or len(set(names)) < len(names):
        raise InputError(f"losses are one or several of {', '.join(types)}, each once, not {names}.")
    return CompoundLoss({name: types[name]() for name in names})
