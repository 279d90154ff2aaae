"""Two networks, one answer: the background of the binary one, the classes of the other."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from tinylesions.datasets import MODELS, RESULTS, nuclei_models

__all__ = [
    "NucleiClassMapsd",
    "NucleiProbabilitiesd",
    "checked_models",
    "nuclei_results",
    "reuse_background",
]


def checked_models(models: Iterable[str]) -> tuple[str, ...]:
    """Return the networks of a prediction.

    Raises:
        InputError: there is no name, or one that is none of :data:`~tinylesions.datasets.MODELS`.
        ValueError: they are in another order, so that the channels would be, too.
    """
    given = (models,) if isinstance(models, str) else tuple(models)
    names = tuple(nuclei_models(given))
    if names != given:
        raise ValueError(f"models are some of {', '.join(MODELS)}, in this order, got {list(given)}")
    return names


def nuclei_results(models: Iterable[str]) -> tuple[str, ...]:
    """Which of :data:`~tinylesions.datasets.RESULTS` networks give.

    Example:
        >>> nuclei_results(["binary"]), nuclei_results(["multi_class", "binary"])
        (('binary',), ('multi_class', 'binary', 'combined'))
    """
    names = checked_models(models)
    return RESULTS if names == MODELS else names


def reuse_background(class_map: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
    """Take the background of the binary network and the classes of the other one.

    Background where the binary network says so, else what the multi-class network says, which may be background, too
    (paper 004, equation 3.4).

    Args:
        class_map: class of each pixel by the multi-class network, 0 is background; any shape and integer type.
        foreground: of the same shape, above 0 where the binary network sees a nucleus.

    Example:
        >>> reuse_background(torch.tensor([2, 2, 0, 0]), torch.tensor([1, 0, 1, 0])).tolist()
        [2, 0, 0, 0]
    """
    return class_map * (foreground > 0)


class NucleiProbabilitiesd(MapTransform):
    """Softmax over the classes of the multi-class network, sigmoid of the binary one.

    What MONAI knows of the tensor stays, so that ``Invertd`` can follow.

    Args:
        keys: keys of logits (C, H, W) on any device: K channels with ``["multi_class"]``, one with ``["binary"]``,
            K + 1 with both.
        models: the networks, some of :data:`~tinylesions.datasets.MODELS` in that order.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        InputError: there is no such model.
        ValueError: the models are in another order, or the channels do not fit them.
    """

    def __init__(self, keys: KeysCollection, models: Iterable[str] = MODELS, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.models = checked_models(models)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with logits replaced by probabilities, float32."""
        items = dict(data)
        for key in self.key_iterator(items):
            logits = items[key].float()  # half precision would round probabilities
            classes, foreground = split_models(logits, self.models)
            parts = ([] if classes is None else [classes.softmax(0)]) + (
                [] if foreground is None else [foreground.sigmoid()]
            )
            items[key] = torch.cat(parts) if parts[1:] else parts[0]
        return items


class NucleiClassMapsd(MapTransform):
    """Add the class map of each result: ``multi_class``, ``binary`` and ``combined``, or the one that there is.

    The multi-class network's is the most probable class; the binary network's is 1 where its probability is above
    0.5; ``combined`` is :func:`reuse_background` of both (paper 004, sections 3.4 and 3.5). Each is (1, H, W) uint8,
    on the device of the probabilities.

    Args:
        keys: key of probabilities (C, H, W) as :class:`NucleiProbabilitiesd` gives them. They need not add up to 1,
            as after an interpolation.
        models: the networks, some of :data:`~tinylesions.datasets.MODELS` in that order.
        allow_missing_keys: do not raise where the key is missing.

    Raises:
        InputError: there is no such model.
        ValueError: the models are in another order, the channels do not fit them, or there are more classes than 256.

    Example:
        >>> probabilities = torch.tensor([0.2, 0.7, 0.1, 0.4])[:, None, None]
        >>> maps = NucleiClassMapsd("pred")({"pred": probabilities})
        >>> {name: maps[name].item() for name in RESULTS}
        {'multi_class': 1, 'binary': 0, 'combined': 0}
    """

    def __init__(
        self, keys: KeysCollection = "pred", models: Iterable[str] = MODELS, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.models = checked_models(models)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the class maps added."""
        items = dict(data)
        for key in self.key_iterator(items):
            classes, foreground = split_models(items[key], self.models)
            if classes is not None:
                items["multi_class"] = classes.argmax(0, keepdim=True).to(torch.uint8)
            if foreground is not None:
                items["binary"] = (foreground > 0.5).to(torch.uint8)
            if classes is not None and foreground is not None:
                items["combined"] = reuse_background(items["multi_class"], items["binary"])
        return items


def split_models(tensor: torch.Tensor, models: tuple[str, ...]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Split (C, H, W) into the classes' channels (K, H, W) and the binary network's (1, H, W); None for one absent.

    Raises:
        ValueError: the channels do not fit the models, or there are more classes than 256.
    """
    binary = "binary" in models
    channels = tensor.shape[0] - binary
    if not (channels == 0 if models == ("binary",) else 2 <= channels <= 256):
        raise ValueError(f"{tensor.shape[0]} channels do not fit the networks {', '.join(models)}")
    classes = tensor[:channels] if channels else None
    return classes, tensor[channels:] if binary else None
