"""Precision and recall of pixels at the threshold where they are nearest to each other."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tinylesions.metrics.average_precision import PixelAveragePrecisionMetric
from tinylesions.metrics.score_histogram import SCORE_BINS, bin_edges

__all__ = ["BreakEven", "PixelBreakEvenMetric", "break_even"]


class BreakEven(NamedTuple):
    """Precision, recall and the threshold they hold at, score ≥ threshold: (...) float64 in [0, 1] each, or NaN."""

    precision: torch.Tensor
    recall: torch.Tensor
    threshold: torch.Tensor


def break_even(histogram: torch.Tensor) -> BreakEven:
    """Break-even point of precision and recall: the threshold where |P − R| is least.

    The thresholds are the lower edges of the bins. Those that find no pixel of the class do not count: with P = R = 0,
    a false alarm above all else would win. Among equal ones that with the higher P + R is taken, then the highest.

    Red-Seg paper (000), table 2: its section 3.3 names no threshold, and its precision and recall are nearly equal.

    Args:
        histogram: (..., 2, bins), see :func:`score_histogram`, or merged by :func:`merge_bins`.

    Returns:
        Three tensors (...); NaN where there is no pixel of the class.
    """
    # with the highest bin first, the first of equal ones is the highest threshold
    negatives, positives = histogram.flip(-1).double().unbind(-2)
    true_positives = positives.cumsum(-1)
    predicted = true_positives + negatives.cumsum(-1)
    every = true_positives[..., -1:]
    # |P − R| and P + R times all pixels of the class: one rounding each, so that what is equal compares equal
    distance = (true_positives * (predicted - every).abs() / predicted).masked_fill(true_positives == 0, torch.inf)
    nearest = distance == distance.amin(-1, keepdim=True)
    total = (true_positives * (predicted + every) / predicted).masked_fill(~nearest, -1)
    place = total.argmax(-1, keepdim=True)

    found = true_positives.gather(-1, place)
    bins = histogram.shape[-1]
    threshold = bin_edges((bins - 1 - place) * (SCORE_BINS // bins)).double()
    threshold = threshold.masked_fill(every == 0, torch.nan)
    return BreakEven(*(x.squeeze(-1) for x in (found / predicted.gather(-1, place), found / every, threshold)))


class PixelBreakEvenMetric(PixelAveragePrecisionMetric):
    """Break-even point of each lesion over all pixels of all photos pooled.

    Takes what :class:`PixelAveragePrecisionMetric` takes and keeps the same sums. ``aggregate`` gives NaN for a class
    that no photo holds.

    Example:
        >>> metric = PixelBreakEvenMetric()
        >>> _ = metric(torch.tensor([[[[0.75, 0.5, 0.25]]]]), torch.tensor([[[[1, 0, 1]]]]))
        >>> tuple(float(value) for value in metric.aggregate())
        (0.5, 0.5, 0.5)
    """

    def aggregate(self) -> BreakEven:  # type: ignore[override]
        """Break-even point of each channel: (C,) float64 each."""
        histograms = self.get_buffer()
        if histograms is None:
            raise ValueError("no photo was given yet, there is no break-even point")
        # some accelerators have no float64
        return break_even(histograms.sum(0).cpu())
