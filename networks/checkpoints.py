"""Load a trained network's weights, with an error that says what does not fit."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from tinylesions.datasets.errors import InputError

__all__ = ["load_checkpoint"]


def load_checkpoint(network: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Load weights into a network on whatever device it is.

    Args:
        network: the bare network.
        path: a state dict saved by ``torch.save``, or a training's checkpoint that holds one as ``network``.

    Returns:
        The network.

    Raises:
        InputError: the file is missing, no checkpoint, or of another network; in one sentence with the remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there are no weights at {path}: train first, or name the weights' file.")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise InputError(f"{path} is no file of weights, or a damaged one: name a model.pt of a training.") from error
    if isinstance(weights, dict) and isinstance(weights.get("network"), dict):
        weights = weights["network"]
    own = network.state_dict()
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{path} holds no weights of a network: name a model.pt of a training.")
    name = type(network).__name__
    if weights.keys() != own.keys():
        wrong = sorted(weights.keys() ^ own.keys(), key=str)
        raise InputError(
            f"{path} does not fit {name}: {len(wrong)} parameters are in one and not in the other, such as {wrong[0]}:"
            " name weights of this network, or build the network they were trained with (the preset, if it was one)."
        )
    wrong = [key for key in own if own[key].shape != weights[key].shape]
    if wrong:
        key = wrong[0]
        raise InputError(
            f"{path} does not fit {name}: {key} is {tuple(weights[key].shape)} in the file and"
            f" {tuple(own[key].shape)} in the network: use the widths it was trained with (the preset, if it was one)."
        )
    network.load_state_dict(weights)
    return network
