"""Load torchvision's ImageNet weights of VGG16 into an encoder whose layers are numbered alike."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tinylesions.datasets.errors import InputError

if TYPE_CHECKING:
    from tinylesions.networks.vgg import VGG16

__all__ = ["load_vgg16_weights"]

_URLS = {
    False: "https://download.pytorch.org/models/vgg16-397923af.pth",
    True: "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
}
_KINDS = {False: "vgg16 (no batch norm)", True: "vgg16_bn (batch norm)"}


def load_vgg16_weights(encoder: VGG16, path: str | os.PathLike[str]) -> None:
    """Load a torchvision VGG16 file into `encoder`, in place.

    The classifier and the groups that the encoder does not have are ignored. The first convolution, learnt on RGB, is
    adapted to other numbers of channels so that an image with the same value in every channel gets the same response:
    up to two channels each take an equal part of the sum over RGB; four and more repeat R, G, B in turn, each divided
    by how often it occurs.

    Args:
        encoder: a `VGG16`, of torchvision's widths.
        path: a `.pth` or `.safetensors` file with names like `features.0.weight`, or `"imagenet"` to download
            torchvision's from pytorch.org into torch's cache.

    Raises:
        InputError: when the file is missing, unreadable or does not fit the encoder.
        OSError: when the download fails.
    """
    if str(path) == "imagenet":
        source = _URLS[encoder.batch_norm]
        weights = _download(source)
    else:
        source = str(path)
        weights = _read(Path(path))
    encoder.load_state_dict(_fit(weights, encoder, source))


def _download(url: str) -> dict[str, torch.Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError when the hash differs
        raise OSError(
            f"The ImageNet weights could not be downloaded from {url} ({error}): try again, or fetch that file "
            f"elsewhere and give its path instead of 'imagenet'."
        ) from error


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; give a path to torchvision's VGG16 weights, or 'imagenet'.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise InputError(f"{path}: safetensors is not installed; `pip install safetensors`, or give a .pth.") from error
    except Exception as error:  # each format has errors of its own for a file that is not of that format
        raise InputError(f"{path}: no readable weights file ({type(error).__name__}); download it again.") from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{path}: holds no plain table of weights; save the network's state_dict() there.")
    return weights


def _fit(weights: dict[str, torch.Tensor], encoder: VGG16, source: str) -> dict[str, torch.Tensor]:
    """Return the encoder's own entries of `weights`, the first convolution adapted to its channels."""
    wanted = {name: value for name, value in encoder.state_dict().items() if not name.endswith("num_batches_tracked")}
    found = "features.1.running_mean" in weights
    if "features.0.weight" in weights and found != encoder.batch_norm:
        raise InputError(
            f"{source}: these are weights of {_KINDS[found]}, but the network is {_KINDS[encoder.batch_norm]}; "
            f"use {_URLS[encoder.batch_norm]} or batch_norm={found}."
        )
    missing = sorted(wanted.keys() - weights.keys())
    if missing:
        raise InputError(
            f"{source}: {len(missing)} of VGG16's {len(wanted)} weights are missing, {missing[0]} for one; "
            f"use torchvision's {_URLS[encoder.batch_norm]}."
        )
    fitted = {name: weights[name] for name in wanted}
    fitted["features.0.weight"] = _adapt(fitted["features.0.weight"], encoder.in_channels)
    for name, value in wanted.items():
        if fitted[name].shape != value.shape:
            raise InputError(
                f"{source}: {name} has the shape {tuple(fitted[name].shape)}, but the network needs "
                f"{tuple(value.shape)}; set widths to those of the file."
            )
    return fitted


def _adapt(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """Adapt the first convolution's (width, C, 3, 3) to (width, channels, 3, 3), equal for constant inputs."""
    known = weight.shape[1]
    if channels == known:
        return weight
    if channels < known:
        return (weight.sum(1, keepdim=True) / channels).repeat(1, channels, 1, 1)
    source = torch.arange(channels) % known
    return weight[:, source] / torch.bincount(source)[source].reshape(1, -1, 1, 1)
