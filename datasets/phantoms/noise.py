"""Random streams and smooth random fields."""

from __future__ import annotations

import numpy as np
from PIL import Image

__all__ = ["random_stream", "smooth_noise", "upsample"]


def random_stream(seed: int, *name: str) -> np.random.Generator:
    """Return a generator of its own for each named part, so that leaving a part out does not change the others."""
    return np.random.default_rng([seed, *"/".join(name).encode()])


def upsample(
    field: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Resize a float32 field (h, w) to ``size`` = (height, width), bicubic; ``box`` = (left, top, right, bottom)."""
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box))


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cell: float, octaves: int = 1) -> np.ndarray:
    """Draw a smooth random field of about unit variance.

    Args:
        rng: source of randomness.
        size: (height, width) of the result.
        cell: distance in pixels over which the field changes.
        octaves: how many finer fields, each half as coarse and 0.6 times as strong, are added.

    Returns:
        float32 (height, width).
    """
    total = np.zeros(size, np.float32)
    variance = 0.0
    for octave in range(octaves):
        step, weight = max(cell / 2**octave, 1.0), 0.6**octave
        width, height = size[1] / step, size[0] / step
        grid = rng.standard_normal((int(np.ceil(height)) + 3, int(np.ceil(width)) + 3), dtype=np.float32)
        total += weight * upsample(grid, size, box=(1.0, 1.0, 1.0 + width, 1.0 + height))
        variance += weight**2
    # Bicubic interpolation between independent values keeps about four fifths of their deviation.
    return total / np.float32(0.82 * np.sqrt(variance))
