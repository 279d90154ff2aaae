"""Test-time augmentation: a network looks at an image at several sizes, and its outputs are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional as F

from tinylesions.inferers.outputs import Outputs

__all__ = ["average_scales", "checked_scales"]

_MULTIPLE = 32
"""Of the scaled sides: encoders that halve an image five times need it."""


def checked_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Return the scales as a tuple.

    Raises:
        ValueError: there is none, one stands there twice, or one is not above 0.
    """
    found = tuple(float(scale) for scale in scales)
    if not found or len(set(found)) < len(found) or not all(0 < scale < float("inf") for scale in found):
        raise ValueError(f"scales are numbers above 0, at least one and each once, got {scales}")
    return found


def average_scales(
    forward: Callable[[torch.Tensor], Outputs], images: torch.Tensor, scales: Sequence[float]
) -> Outputs:
    """Average the outputs for an image at several sizes, each brought to the image's own size first.

    A network that has learnt at one scale finds what is larger than its view when the image is shrunk, and what is
    finer than its grid when the image is enlarged. As of mirror images, the mean is that of what the network gives, so
    of logits.

    Args:
        forward: gives the outputs, by key, of images. Maps (N, K, h, w), of any resolution, are resized bilinearly;
            what has other dimensions, such as a grade's (N, K), is averaged as it is.
        images: (N, C, H, W), float. They are resized bicubically, without aliasing, to sides that are the nearest
            multiples of 32, which may stretch them a little.
        scales: factors of the sides; 1 is the image as it is.

    Returns:
        What `forward` gives, in float32 where there are several scales.

    Example:
        >>> shrunk = average_scales(lambda images: {"map": images}, torch.ones(1, 1, 64, 96), (1, 0.5))
        >>> shrunk["map"].shape, float(shrunk["map"].std())
        (torch.Size([1, 1, 64, 96]), 0.0)
    """
    if tuple(scales) == (1.0,):
        return forward(images)
    total: Outputs = {}
    size = images.shape[2:]
    for scale in scales:
        scaled = images
        if scale != 1:
            sides = [max(round(side * scale / _MULTIPLE), 1) * _MULTIPLE for side in size]
            scaled = F.interpolate(images, sides, mode="bicubic", antialias=True)
        for key, output in forward(scaled).items():
            resized = output.float()
            if output.ndim == images.ndim:
                shapes = zip(output.shape[2:], size, scaled.shape[2:], strict=True)
                own = [round(out * side / by) for out, side, by in shapes]
                resized = F.interpolate(resized, own, mode="bilinear")
            total[key] = total[key] + resized if key in total else resized
    return {key: output / len(scales) for key, output in total.items()}
