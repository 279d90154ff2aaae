"""What a network gives, a tensor, a tuple or a dict, as one kind of thing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch

__all__ = ["Outputs", "as_given", "by_key"]

Outputs = dict[Hashable, torch.Tensor]


class _Place(int):
    """A place in a tuple, not the number that may be a dict's key."""


def by_key(output: Any) -> Outputs:
    """The tensors by key: that of a dict, or the place in a tuple."""
    if isinstance(output, Mapping):
        return dict(output)
    tensors = (output,) if isinstance(output, torch.Tensor) else output
    return {_Place(place): tensor for place, tensor in enumerate(tensors)}


def as_given(outputs: Outputs) -> Any:
    """A dict, a tuple, or, as MONAI does, a single tensor."""
    if not all(isinstance(key, _Place) for key in outputs):
        return outputs
    return tuple(outputs.values()) if len(outputs) > 1 else outputs[0]
