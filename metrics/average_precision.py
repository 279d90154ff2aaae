"""Pixel average precision (AUPR) over whole test sets in constant memory: the ``exact`` protocol.

The scores of all pixels are never held: each photo adds to a histogram of scores for the lesion's pixels and one for
the others, from which average precision Σ (R_k − R_{k−1}) P_k follows. Histograms add up over photos and processes.
"""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric

__all__ = ["PixelAveragePrecisionMetric", "average_precision", "score_bins", "score_histogram"]

_STEPS = 4096  # bins per octave: a bin is at most 1/4096 of the score wide
_OCTAVES = 32  # down to 2^-33; below, and as far from 1, scores share a bin
_HALF = _STEPS * _OCTAVES
SCORE_BINS = 2 * _HALF

_MANTISSA_SHIFT = 23 - 12  # float32 has 23 mantissa bits, 2^12 = _STEPS are kept
_OFFSET = (126 - _OCTAVES) * _STEPS  # 126 is the biased exponent of 0.5


def score_bins(scores: torch.Tensor) -> torch.Tensor:
    """Bin number of each score, monotonous in the score, fine near 0 and near 1 where networks' scores pile up.

    A bin's width is relative to the distance from the nearer end: float32's own bits, cut to 12 of the mantissa.

    Args:
        scores: any shape, in [0, 1].

    Returns:
        int64 of the same shape, in [0, ``SCORE_BINS``).
    """
    scores = scores.float()
    upper = scores >= 0.5
    distance = torch.where(upper, 1 - scores, scores)
    code = (distance.view(torch.int32) >> _MANTISSA_SHIFT).sub_(_OFFSET).clamp_(0, _HALF - 1)
    return torch.where(upper, SCORE_BINS - 1 - code, code).long()


def score_histogram(scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Count the pixels of one class by score and truth.

    Args:
        scores: probabilities in [0, 1], any shape.
        truth: same shape, above 0 is the class.
        mask: same shape, above 0 is inside the field of view. Outside, pixels of the class count as misses (in the
            lowest bin) and the others do not count.

    Returns:
        (2, ``SCORE_BINS``) int64: other pixels, pixels of the class.

    Raises:
        ValueError: scores are NaN or outside [0, 1], or the shapes differ.
    """
    if scores.shape != truth.shape or (mask is not None and mask.shape != scores.shape):
        raise ValueError(f"shapes differ: {scores.shape=}, {truth.shape=}, mask {None if mask is None else mask.shape}")
    # NaN fails the comparison too
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise ValueError("scores are probabilities in [0, 1]; got NaN or values outside")
    positive = truth > 0
    bins = score_bins(scores)
    if mask is not None:
        inside = mask > 0
        bins = torch.where(inside, bins, 0)
        counted = inside | positive
        bins, positive = bins[counted], positive[counted]
    counts = torch.bincount((bins + positive * SCORE_BINS).flatten(), minlength=2 * SCORE_BINS)
    return counts.view(2, SCORE_BINS)


def average_precision(histogram: torch.Tensor) -> torch.Tensor:
    """Average precision Σ (R_k − R_{k−1}) P_k from histograms, pixels of one bin taken as ties.

    Args:
        histogram: (..., 2, bins), see :func:`score_histogram`.

    Returns:
        (...) float64 in [0, 1]; NaN where there is no pixel of the class.
    """
    negatives, positives = histogram.flip(-1).double().unbind(-2)
    true_positives = positives.cumsum(-1)
    predicted = true_positives + negatives.cumsum(-1)
    precision = true_positives / predicted.clamp(min=1)
    return (precision * positives).sum(-1) / true_positives[..., -1]


class PixelAveragePrecisionMetric(CumulativeIterationMetric):
    """Average precision of each lesion over all pixels of all photos pooled (protocol ``exact``).

    The state is one histogram per class, a sum: its size does not depend on the number of photos, and it adds up
    over processes. ``aggregate`` gives NaN for a class that no photo holds; the mean leaves such classes out.

    Call it with `y_pred` (N, C, H, W) probabilities or a list of (C, H, W), `y` of the same shape, or with fewer
    channels when `y_pred` holds several heads (heads · C) one after another, and optionally `mask` (N, 1, H, W).

    Example:
        >>> metric = PixelAveragePrecisionMetric()
        >>> _ = metric(torch.tensor([[[[0.9, 0.8, 0.1]]]]), torch.tensor([[[[1, 0, 1]]]]))
        >>> round(float(metric.aggregate()), 4)
        0.8333
    """

    def extend(self, *data: torch.Tensor) -> None:
        """Add the photos' histograms (N, C, 2, bins) to the sum."""
        total = data[0].sum(0)
        if self._buffers is not None:
            total += self._buffers[0][0]
        self._buffers = [[total]]
        self._synced = False

    def _compute_list(self, y_pred: Any, y: Any = None, mask: Any = None, **kwargs: Any) -> torch.Tensor:
        masks = mask if mask is not None else [None] * len(y_pred)
        return torch.stack([_photo_histograms(p, t, m) for p, t, m in zip(y_pred, y, masks, strict=True)])

    def _compute_tensor(
        self, y_pred: torch.Tensor, y: torch.Tensor | None = None, mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        return self._compute_list(list(y_pred), None if y is None else list(y), None if mask is None else list(mask))

    def aggregate(self) -> torch.Tensor:
        """Average precision of each channel: (C,) float64."""
        histograms = self.get_buffer()
        if histograms is None:
            raise ValueError("no photo was given yet, there is no average precision")
        # some accelerators have no float64
        return average_precision(histograms.sum(0).cpu())


def _photo_histograms(scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    channels = truth.shape[0]
    if scores.shape[0] % channels:
        raise ValueError(f"{scores.shape[0]} predicted channels are no multiple of the {channels} of the truth")
    inside = None if mask is None else torch.as_tensor(mask)[0]
    return torch.stack(
        [
            score_histogram(torch.as_tensor(s), torch.as_tensor(truth[i % channels]), inside)
            for i, s in enumerate(scores)
        ]
    )
