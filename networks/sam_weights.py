"""Load the image encoder of a Segment Anything checkpoint."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tinylesions.datasets.errors import InputError

if TYPE_CHECKING:
    from tinylesions.networks.sam_encoder import SAMEncoder

__all__ = ["load_sam_weights"]

_PREFIX = "image_encoder."
_SOURCE = (
    "sam_vit_b_01ec64.pth for ViT-B, from https://github.com/facebookresearch/segment-anything (Apache License 2.0; "
    "it does not ship with this package)"
)
_KINDS = {(768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}
"""Segment Anything's three encoders by width and depth."""


def load_sam_weights(encoder: SAMEncoder, path: str | os.PathLike[str]) -> None:
    """Load the image encoder of a checkpoint into `encoder`, in place; its adapters stay as they are.

    The checkpoint's prompt encoder and mask decoder are ignored.

    Args:
        encoder: of the checkpoint's size.
        path: a state dict as Segment Anything publishes it, with names like ``image_encoder.pos_embed``.

    Raises:
        InputError: when the file is missing, unreadable or does not fit the encoder; where it is of another size, the
            sentence names the arguments that fit it.
    """
    path = Path(path)
    weights = _read(path)
    own = encoder.published_state_dict()
    unlike = sorted(own.keys() ^ weights.keys())
    unlike += [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if unlike:
        raise InputError(_misfit(path, weights, own, unlike[0]))
    encoder.load_state_dict(weights, strict=False)  # the adapters are in no checkpoint


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Return the image encoder's weights, without their prefix."""
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; download {_SOURCE}, and give its path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise InputError(
            f"{path}: no readable weights file ({type(error).__name__}); download it again: {_SOURCE}."
        ) from error
    weights = {}
    if isinstance(content, dict):
        names = [name for name in content if isinstance(name, str) and name.startswith(_PREFIX)]
        weights = {name.removeprefix(_PREFIX): content[name] for name in names}
    if not weights or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{path}: holds no image encoder of Segment Anything; download {_SOURCE}.")
    return weights


def _misfit(path: Path, weights: dict[str, torch.Tensor], own: dict[str, torch.Tensor], name: str) -> str:
    """Return the sentence: the arguments to set, or else what is wrong with the entry `name`."""
    theirs, ours = _settings(weights), _settings(own)
    wrong = [f"{argument}={value}" for argument, value in theirs.items() if value != ours.get(argument)]
    if wrong:
        kind = _KINDS.get((int(str(theirs["embed_dim"])), int(str(theirs["depth"]))), "an encoder")
        return f"{path}: holds {kind} of other settings than the network; set {', '.join(wrong)}, or give another file."
    if name not in weights:
        fault = f"{name} is missing"
    elif name not in own:
        fault = f"{name} is no part of Segment Anything's image encoder"
    else:
        fault = f"{name} has the shape {tuple(weights[name].shape)}, not {tuple(own[name].shape)}"
    return f"{path}: {fault}; download {_SOURCE}."


def _settings(weights: dict[str, torch.Tensor]) -> dict[str, int | tuple[int, ...]]:
    """Return the arguments of `SAMEncoder` that the shapes tell; none where a shape that tells them is missing."""
    depth = len({match[1] for name in weights if (match := re.match(r"blocks\.(\d+)\.", name))})
    ranks = {"pos_embed": 4, "patch_embed.proj.weight": 4, "neck.0.weight": 4}
    distances = [f"blocks.{index}.attn.rel_pos_h" for index in range(depth)]
    ranks |= dict.fromkeys(distances, 2)
    if not distances or any(name not in weights or weights[name].ndim != rank for name, rank in ranks.items()):
        return {}
    grid_size, embed_dim = weights["pos_embed"].shape[2:]
    patch_size = weights["patch_embed.proj.weight"].shape[3]
    sizes = [(len(weights[name]) + 1) // 2 for name in distances]
    windows = [size for size in sizes if size != grid_size]
    settings: dict[str, int | tuple[int, ...]] = {
        "embed_dim": embed_dim,
        "depth": depth,
        "num_heads": embed_dim // max(1, weights[distances[0]].shape[1]),
        "global_attn_indexes": tuple(index for index, size in enumerate(sizes) if size == grid_size),
        "patch_size": patch_size,
        "image_size": grid_size * patch_size,
        "neck_channels": len(weights["neck.0.weight"]),
    }
    return settings | ({"window_size": windows[0]} if windows else {})
