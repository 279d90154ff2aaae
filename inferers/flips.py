"""Test-time augmentation: a network looks at an image and at mirror images of it, and its outputs are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch

from tinylesions.inferers.outputs import Outputs

__all__ = ["Flips", "average_flips", "checked_flips"]

Flips = tuple[tuple[int, ...], ...]
"""The axes of each mirror image, as MONAI's ``spatial_axis`` counts them: 0 turns upside down, 1 exchanges left and
right, and an empty one is the image as it is."""

_FLIPS = tuple(axes for number in range(3) for axes in combinations(range(2), number))


def checked_flips(flips: Sequence[Sequence[int]]) -> Flips:
    """Return the flips as tuples.

    Raises:
        ValueError: there is none, one stands there twice, or an axis is neither 0 nor 1.
    """
    found = tuple(tuple(sorted(axes)) for axes in flips)
    if not found or len(set(found)) < len(found) or not set(found) <= set(_FLIPS):
        raise ValueError(f"flips are some of {[list(axes) for axes in _FLIPS]}, each once, got {flips}")
    return found


def average_flips(forward: Callable[[torch.Tensor], Outputs], images: torch.Tensor, flips: Flips) -> Outputs:
    """Average the outputs for mirror images, each turned back first.

    The mean is that of what the network gives, so of logits: that of probabilities would let one image that is sure of
    a lesion outvote the others.

    Args:
        forward: gives the outputs, by key, of images. Maps (N, K, h, w), of any resolution, are turned back; what has
            other dimensions, such as a grade's (N, K), is averaged as it is.
        images: (N, C, H, W).
        flips: see :data:`Flips`.

    Returns:
        What `forward` gives, in float32 where there are several images.

    Example:
        >>> image = torch.arange(4.0).view(1, 1, 1, 4)
        >>> average_flips(lambda images: {"half": images[..., ::2]}, image, ((), (1,)))
        {'half': tensor([[[[0.5000, 2.5000]]]])}
    """
    if flips == ((),):
        return forward(images)
    total: Outputs = {}
    for axes in flips:
        dims = [axis + 2 for axis in axes]
        for key, output in forward(images.flip(dims)).items():
            turned = (output.flip(dims) if output.ndim == images.ndim else output).float()
            total[key] = total[key] + turned if key in total else turned
    return {key: output / len(flips) for key, output in total.items()}
