"""Several networks of one lesion each as one network."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from tinylesions.datasets.errors import InputError
from tinylesions.networks.checkpoints import load_checkpoint

__all__ = ["MergedNetworks", "find_checkpoints", "load_checkpoints"]


class MergedNetworks(nn.Module):
    """Give one image to several networks and join their outputs along the channels.

    The image is loaded, normalised and moved to the device once for all of them (UW-OCTA paper (002), section 3.3: a
    network for each lesion, merged where they are used).

    Args:
        networks: name → network that takes (N, C, H, W) and gives (N, K, H, W).

    Example:
        >>> merged = MergedNetworks({"IRMA": nn.Conv2d(1, 1, 1), "NV": nn.Conv2d(1, 1, 1)})
        >>> merged(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 2, 8, 8])
    """

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs (N, K1 + K2 + …, H, W) in the networks' order."""
        outputs: list[torch.Tensor] = []
        for network in self.networks.values():
            outputs.append(network(x))  # noqa: PERF401  TorchScript has no comprehension over modules
        return torch.cat(outputs, dim=1)


def find_checkpoints(path: str | os.PathLike[str], names: str | Sequence[str]) -> dict[str, Path]:
    """Find the weights of networks that are trained one by one: ``<name>.pt``.

    Args:
        path: the folder of the files, or one of them, which stands for itself alone.
        names: of the networks; a string is one name.

    Returns:
        name → file, for those that are there, in the order of `names`. A warning names those that are not; where none
        is there, that is left to :func:`load_checkpoints`.
    """
    path = Path(path)
    names = [names] if isinstance(names, str) else names
    if path.is_file():
        return {path.stem: path} if path.stem in names else {}
    found = {name: path / f"{name}.pt" for name in names if (path / f"{name}.pt").is_file()}
    absent = [name for name in names if name not in found]
    if found and absent:
        files = " and no ".join(f"{name}.pt" for name in absent)
        verb = "is" if len(absent) == 1 else "are"
        warnings.warn(f"{path} has no {files}: {' and '.join(absent)} {verb} left out", stacklevel=2)
    return found


def load_checkpoints(
    merged: MergedNetworks, checkpoints: Mapping[str, Path], path: str | os.PathLike[str]
) -> MergedNetworks:
    """Load the weights of each network.

    Args:
        merged: the networks.
        checkpoints: name → file, as :func:`find_checkpoints` gives it.
        path: where they were looked for, for the sentence.

    Returns:
        The networks.

    Raises:
        InputError: there is no file for any network, or one does not fit its network.
        ValueError: files and networks are of other names; a network without weights would answer at random.
    """
    if not Path(path).exists():
        raise InputError(f"there are no weights at {path}: train first, or name their folder.")
    wanted = ", ".join(f"{name}.pt" for name in merged.networks)
    if not checkpoints and Path(path).is_file():
        raise InputError(f"{path} does not say by its name whose weights it holds: call it one of {wanted}.")
    if not checkpoints:
        raise InputError(f"{path} holds no weights, none of {wanted}: train first, or name their folder.")
    if set(checkpoints) != set(merged.networks):
        raise ValueError(f"there are networks of {', '.join(merged.networks)}, but weights of {', '.join(checkpoints)}")
    for name, file in checkpoints.items():
        load_checkpoint(merged.networks[name], file)
    return merged
