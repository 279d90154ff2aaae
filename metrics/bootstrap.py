"""95 % intervals from resampled photos: how far a score would move with other photos of the same kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

__all__ = ["percentile_interval", "resample", "resampled_values"]

_AT_ONCE = 128  # replicates whose sums are held together


def resample(photos: int, replicates: int = 1000, seed: int = 0) -> torch.Tensor:
    """Draw as many photos as there are, with replacement, many times.

    Args:
        photos: number of photos.
        replicates: number of draws.
        seed: of the draws; the same seed gives the same draws everywhere.

    Returns:
        (replicates, photos) float64: how often each photo is in each draw.
    """
    counts = np.random.default_rng(seed).multinomial(photos, np.full(photos, 1 / photos), size=replicates)
    return torch.from_numpy(counts).double()


def resampled_values(
    sums: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], draws: torch.Tensor
) -> torch.Tensor:
    """Value of a function of sums over photos, for each draw of photos.

    Args:
        sums: (photos, C, ...) what each photo adds.
        function: takes sums (draws, ...) of one class, gives (draws,).
        draws: (draws, photos), see :func:`resample`.

    Returns:
        (draws, C) float64; NaN where there is a single photo, which every draw would repeat.
    """
    if len(sums) == 1:
        return draws.new_full((len(draws), sums.shape[1]), torch.nan)
    values = []
    for of_class in sums.unbind(1):
        # float64 holds whole numbers to 2^53 exactly, and has a fast matrix product
        flat = of_class.flatten(1).double()
        totals = ((part @ flat).unflatten(1, of_class.shape[1:]) for part in draws.split(_AT_ONCE))
        values.append(torch.cat([function(total) for total in totals]))
    return torch.stack(values, dim=1)


def percentile_interval(values: torch.Tensor, coverage: float = 0.95) -> tuple[torch.Tensor, torch.Tensor]:
    """Ends of the interval that holds the middle share of the values.

    Args:
        values: (draws, C); NaN, a draw without the class, is left out.
        coverage: the share.

    Returns:
        (C,) low and (C,) high ends; NaN where there is no value.
    """
    tail = (1 - coverage) / 2
    low, high = values.nanquantile(values.new_tensor([tail, 1 - tail]), dim=0)
    return low, high
