"""Load a trained network's weights, with an error that says what does not fit; save them in half the bytes."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from tinylesions.datasets.atomic import atomic_path
from tinylesions.datasets.errors import InputError

__all__ = ["load_checkpoint", "save_half"]


def load_checkpoint(network: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Load weights into a network on whatever device it is.

    Args:
        network: the bare network; it keeps its data type, whatever that of the file.
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


def save_half(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Save a network's weights in float16, half the bytes; the network itself stays as it is.

    Integers, such as the batch norms' counts, keep their type. `load_checkpoint` loads the file into a network of any
    data type.

    Args:
        network: the bare network.
        path: of the file, a state dict, which appears when it is complete.

    Raises:
        InputError: the file cannot be written, or a weight is not finite in float16.
    """
    weights = network.state_dict()
    halved = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    for key, value in halved.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError(
                f"{path} cannot be saved in float16: {key} has values that are not finite or beyond 65504: train with"
                " a smaller learning rate, or save in float32."
            )
    with atomic_path(Path(path)) as temporary:
        torch.save(halved, temporary)
