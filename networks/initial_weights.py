"""Start a training from trained weights, whose lesions may be others."""

from __future__ import annotations

import os
from collections.abc import Sequence

from torch import nn

from tinylesions.datasets.errors import InputError
from tinylesions.networks.checkpoints import load_checkpoint

__all__ = ["start_from"]


def start_from(
    network: nn.Module,
    trained: nn.Module,
    path: str | os.PathLike[str],
    lesions: Sequence[str],
    trained_lesions: Sequence[str],
) -> nn.Module:
    """Load trained weights into a network of the same kind, and of its last layer those of the lesions they share.

    Outputs of other lesions keep their untrained weights, so that a network that knows haemorrhages learns drusen
    beside them.

    Args:
        network: with a last convolution ``head``, whose outputs are in groups of one size, one for each of `lesions`.
        trained: a network built as the weights were.
        path: of the weights.
        lesions: of `network`, in the order of its outputs.
        trained_lesions: of the weights, likewise.

    Returns:
        `network`.

    Raises:
        InputError: the weights cannot be loaded, or are of a network of another kind.
    """
    weights = load_checkpoint(trained, path).state_dict()
    own = network.state_dict()
    head = {name for name in own if name.startswith("head.")}
    same = weights.keys() == own.keys() and all(weights[name].shape == own[name].shape for name in own.keys() - head)
    if not head or not same:
        raise InputError(
            f"{path} is of another kind of network than {type(network).__name__}: start from weights of the same"
            " architecture and widths."
        )
    for name in head:
        learnt, fresh = (
            state[name].unflatten(0, (len(names), -1)) for state, names in ((weights, trained_lesions), (own, lesions))
        )
        for place, lesion in enumerate(lesions):
            if lesion in trained_lesions:
                fresh[place] = learnt[list(trained_lesions).index(lesion)]
        weights[name] = fresh.flatten(0, 1)
    network.load_state_dict(weights)
    return network
