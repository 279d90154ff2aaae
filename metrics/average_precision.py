"""Pixel average precision (AUPR) over whole test sets in constant memory: the ``exact`` protocol."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import convert_to_tensor

from tinylesions.metrics.score_histogram import photo_histograms

__all__ = ["PixelAveragePrecisionMetric", "average_precision"]


def average_precision(histogram: torch.Tensor) -> torch.Tensor:
    """Average precision Σ (R_k − R_{k−1}) P_k from histograms, pixels of one bin taken as ties.

    Precision P_k and recall R_k are those of all pixels down to bin k, the highest scores first; R_0 = 0. There is no
    interpolation, and so no point at recall 0.

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
        masks = [None] * len(y_pred) if mask is None else mask
        photos = zip(y_pred, y, masks, strict=True)
        # an engine moves photo and label to its device, not the mask
        parts = (convert_to_tensor(photo, track_meta=False, device=photo[0].device) for photo in photos)
        return torch.stack([photo_histograms(*part) for part in parts])

    def _compute_tensor(
        self, y_pred: torch.Tensor, y: torch.Tensor | None = None, mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        return self._compute_list(y_pred, y, mask)

    def aggregate(self) -> torch.Tensor:
        """Average precision of each channel: (C,) float64."""
        histograms = self.get_buffer()
        if histograms is None:
            raise ValueError("no photo was given yet, there is no average precision")
        # some accelerators have no float64
        return average_precision(histograms.sum(0).cpu())
