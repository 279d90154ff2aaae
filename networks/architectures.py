"""Look up a network by the name that a user typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from tinylesions.datasets.errors import InputError

__all__ = ["find_architecture"]


def find_architecture(types: Mapping[str, Callable[[], nn.Module]], name: str) -> Callable[[], nn.Module]:
    """Return what builds the network of that name.

    Raises:
        InputError: there is none.
    """
    if name not in types:
        raise InputError(f"there is no architecture {name!r}: choose one of {', '.join(types)}.")
    return types[name]
