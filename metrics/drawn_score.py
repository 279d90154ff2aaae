"""A score with its values on draws of sources, which pair up with another score's of the same sources."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tinylesions.metrics.bootstrap import percentile_interval
from tinylesions.metrics.pixel_protocols import Estimate

__all__ = ["DrawnScore"]


@dataclass(frozen=True)
class DrawnScore:
    """A score of C columns and what it is on R draws of the sources.

    Args:
        value: (C,) float64; NaN where there is no value.
        draws: (R, C) float64; NaN in a draw without a value. With R = 0 there are no intervals.
        known: (C,) bool: there is an interval.
        sources: the names of the sources in the order of the draws; none where the images have no sources.
        seed: of the draws.

    Example:
        >>> draws = torch.tensor([[0.1], [0.2], [0.3]]).double()
        >>> first = DrawnScore(torch.tensor([0.2]), draws, torch.tensor([True]), ("a", "b"), seed=0)
        >>> second = DrawnScore(torch.tensor([0.1]), draws - 0.1, torch.tensor([True]), ("a", "b"), seed=0)
        >>> [round(end.item(), 4) for end in first.minus(second).estimate()]  # the same in every draw
        [0.1, 0.1, 0.1]
    """

    value: torch.Tensor
    draws: torch.Tensor
    known: torch.Tensor
    sources: tuple[str, ...]
    seed: int

    def estimate(self) -> Estimate:
        """The values with the middle 95 % of the draws."""
        unknown = torch.full_like(self.value, torch.nan)
        if len(self.draws) == 0:
            return Estimate(self.value, unknown, unknown)
        return Estimate(self.value, *(torch.where(self.known, end, unknown) for end in percentile_interval(self.draws)))

    def minus(self, other: DrawnScore) -> DrawnScore:
        """This score less another of the same images, draw by draw.

        What one of them has no value for has none, nor has a draw.

        Raises:
            ValueError: the draws are not of the same sources, or nothing says so.
        """
        pairing, of_other = ((score.sources, score.seed, score.draws.shape) for score in (self, other))
        if not self.sources or pairing != of_other:
            raise ValueError("only scores of the same named sources, columns and draws can be subtracted")
        value, draws = self.value - other.value, self.draws - other.draws
        return DrawnScore(value, draws, self.known & other.known, self.sources, self.seed)
