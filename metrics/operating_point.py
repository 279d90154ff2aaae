"""The probability threshold of each lesion at which its pixels have the highest Dice."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tinylesions.metrics.average_precision import PixelAveragePrecisionMetric
from tinylesions.metrics.class_overlap import class_overlap
from tinylesions.metrics.score_histogram import SCORE_BINS, bin_edges, score_bins

__all__ = ["OperatingPoint", "OperatingPointMetric", "best_dice_threshold", "operating_point"]

_BELOW_ONE = 1 - 2.0**-24  # the next float32


class OperatingPoint(NamedTuple):
    """A threshold, the scores of the pixels with score ≥ threshold, and Dice at 0.5: (...) float64 in [0, 1] each."""

    threshold: torch.Tensor
    dice: torch.Tensor
    precision: torch.Tensor
    recall: torch.Tensor
    dice_at_half: torch.Tensor


def operating_point(threshold: torch.Tensor, counts: torch.Tensor, at_half: torch.Tensor) -> OperatingPoint:
    """Scores of pixel counts.

    Args:
        threshold: (...).
        counts: (..., 3): pixels found, predicted and true at the threshold.
        at_half: (..., 3): the same at 0.5.

    Returns:
        Scores (...); NaN where there is no true pixel, precision 0 where nothing is predicted.
    """
    scores, without = class_overlap(counts), counts[..., 2] == 0
    columns = scores["dice"], scores["precision"], scores["recall"], class_overlap(at_half)["dice"]
    return OperatingPoint(threshold.double(), *(column.masked_fill(without, torch.nan) for column in columns))


def best_dice_threshold(histogram: torch.Tensor) -> OperatingPoint:
    """Find the threshold with the highest Dice, 2 · found / (predicted + true), of all pixels together.

    The thresholds are the lower edges of the bins, above 0, which would mark every pixel, and below 1, whose log-odds
    are infinite. Among equal ones the highest is taken. Dice on the photos that the threshold was chosen on is a little
    higher than on others.

    Args:
        histogram: (..., 2, bins), see :func:`score_histogram`, or merged by :func:`merge_bins`.

    Returns:
        Threshold and scores (...). The threshold is NaN where no threshold finds a true pixel; where there is none, the
        scores are too.

    Example:
        >>> from tinylesions.metrics import score_histogram
        >>> scores, truth = torch.tensor([0.75, 0.5, 0.25, 0.125]), torch.tensor([1, 0, 1, 0])
        >>> point = best_dice_threshold(score_histogram(scores, truth))
        >>> float(point.threshold), float(point.dice), float(point.recall), float(point.dice_at_half)
        (0.25, 0.8, 1.0, 0.5)
    """
    bins = histogram.shape[-1]
    others, lesion = histogram.double().unbind(-2)
    true = lesion.sum(-1, keepdim=True)
    # with the highest bin first, the first of equal ones is the highest threshold
    found = lesion[..., 1:].flip(-1).cumsum(-1)
    predicted = found + others[..., 1:].flip(-1).cumsum(-1)
    # one rounding each, so that what is equal compares equal
    dice = 2 * found / (predicted + true).clamp(min=1)
    merged = SCORE_BINS // bins
    scores = torch.tensor([0.5, _BELOW_ONE], device=histogram.device)
    half, highest = (bins - 1 - score_bins(scores).long() // merged).split(1)
    dice[..., : int(highest)] = -1
    place = dice.argmax(-1, keepdim=True)
    counts, at_half = (
        torch.cat([found.gather(-1, column), predicted.gather(-1, column), true], -1)
        for column in (place, half.expand_as(place))
    )
    edges = bin_edges((bins - 1 - place) * merged).double().squeeze(-1)
    return operating_point(edges.masked_fill(counts[..., 0] == 0, torch.nan), counts, at_half)


class OperatingPointMetric(PixelAveragePrecisionMetric):
    """Threshold of each lesion with the highest Dice over all pixels of all photos pooled.

    Takes what :class:`PixelAveragePrecisionMetric` takes and keeps the same sums. ``aggregate`` gives NaN for a class
    that no photo holds.

    Example:
        >>> metric = OperatingPointMetric()
        >>> _ = metric(torch.tensor([[[[0.75, 0.5, 0.25]]]]), torch.tensor([[[[1, 1, 0]]]]))
        >>> float(metric.aggregate().threshold)
        0.5
    """

    def aggregate(self) -> OperatingPoint:  # type: ignore[override]
        """Operating point of each channel: (C,) float64 each."""
        histograms = self.get_buffer()
        if histograms is None:
            raise ValueError("no photo was given yet, there is no operating point")
        # some accelerators have no float64
        return best_dice_threshold(histograms.sum(0).cpu())
