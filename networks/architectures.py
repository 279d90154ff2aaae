"""Look up a network, or another choice, by the name that a user typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from torch import nn

from tinylesions.datasets.errors import InputError

__all__ = ["build_network", "describe_network", "find_architecture", "find_choice"]

T = TypeVar("T")


def find_choice(choices: Mapping[str, T], name: str, kind: str) -> T:
    """Return the choice of that name.

    Args:
        choices: by name.
        name: as typed.
        kind: of the choices, in a word.

    Raises:
        InputError: there is none.
    """
    if name not in choices:
        raise InputError(f"there is no {kind} {name!r}: choose one of {', '.join(choices)}.")
    return choices[name]


def find_architecture(types: Mapping[str, Callable[..., nn.Module]], name: str) -> Callable[..., nn.Module]:
    """Return what builds the network of that name.

    Raises:
        InputError: there is none.
    """
    return find_choice(types, name, "architecture")


def describe_network(types: Mapping[str, partial[nn.Module]], name: str) -> dict[str, Any]:
    """Describe a network so that `build_network` can build it again, whatever the defaults are by then.

    Args:
        types: name → the network's class with its arguments, as ``"_mode_": "callable"`` gives it in a config.
        name: of the architecture.

    Returns:
        ``architecture`` and ``arguments``.

    Raises:
        InputError: there is no such architecture.
    """
    return {"architecture": name, "arguments": dict(find_choice(types, name, "architecture").keywords)}


def build_network(
    types: Mapping[str, Callable[..., nn.Module]], description: Mapping[str, Any], **arguments: Any
) -> nn.Module:
    """Build a network.

    Args:
        types: name → what builds the network.
        description: its ``architecture`` and, where they are not those of `types`, its ``arguments``.
        arguments: more of them.

    Raises:
        InputError: there is no such architecture.
    """
    build = find_architecture(types, description["architecture"])
    return build(**{**description.get("arguments", {}), **arguments})
