"""Areas under precision-recall curves of a few thresholds: the protocols ``idrid33`` and ``m2mrf11``.

Both count the pixels of all photos above each threshold and join the points by straight lines, which average
precision does not. The counts are exact at the thresholds, and add up over photos and processes.
"""

from __future__ import annotations

import torch

from tinylesions.metrics.score_histogram import SCORE_BINS, pixel_chunks, score_bins

__all__ = ["IDRID33_THRESHOLDS", "M2MRF11_THRESHOLDS", "counts_above", "counts_at_least", "curve_area"]

IDRID33_THRESHOLDS = tuple(step / 32 for step in range(33))
M2MRF11_THRESHOLDS = tuple(torch.tensor([step / 10 for step in range(11)]).tolist())
"""As float32, in which the protocol's authors compare."""


def counts_at_least(histogram: torch.Tensor) -> torch.Tensor:
    """Count the pixels whose score is at least k/32, k = 0 … 32 (``idrid33``), exactly.

    Args:
        histogram: (..., 2, bins), see :func:`score_histogram`, or merged by :func:`merge_bins`.

    Returns:
        (..., 2, 33) int64: other pixels, pixels of the class.
    """
    edges = score_bins(torch.tensor(IDRID33_THRESHOLDS, device=histogram.device)).long()
    from_the_top = histogram.flip(-1).cumsum(-1, dtype=torch.int64).flip(-1)
    return from_the_top[..., edges // (SCORE_BINS // histogram.shape[-1])]


def counts_above(scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Count the pixels of one class whose score is above 0, 0.1, … 1 (``m2mrf11``), exactly.

    Args:
        scores: probabilities in [0, 1], any shape; wider types are rounded to float32.
        truth: same shape, non-zero is the class.
        mask: same shape, non-zero is inside the field of view; nothing is predicted outside.

    Returns:
        (2, 11) int64: other pixels, pixels of the class.
    """
    counts = [[0] * len(M2MRF11_THRESHOLDS) for _ in range(2)]
    for part, is_class, inside in pixel_chunks(scores, truth, mask):
        part = part.float()
        for column, threshold in enumerate(M2MRF11_THRESHOLDS):
            above = part > threshold
            if inside is not None:
                above &= inside
            predicted, found = int(torch.count_nonzero(above)), int(torch.count_nonzero(above & is_class))
            if not predicted:
                break
            counts[0][column] += predicted - found
            counts[1][column] += found
            # high scores are rare: the next threshold has only these to look at
            if 2 * predicted < len(part):
                places = above.nonzero().squeeze(1)
                part, is_class, inside = part[places], is_class[places], None
    return torch.tensor(counts, device=scores.device)


def curve_area(predicted: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """Area under the precision-recall curve through a few thresholds, by the trapezoid rule.

    The curve runs from the recall of the lowest threshold, which need not be 1, to recall 0 at precision 1. Where
    nothing is predicted, recall is 0 and precision is 1.

    Args:
        predicted: (..., 2, thresholds) other pixels and pixels of the class above each threshold, lowest first.
        positives: (...) all pixels of the class.

    Returns:
        (...) float64 in [0, 1]; NaN where there is no pixel of the class.
    """
    false, true = predicted.double().unbind(-2)
    found = true + false
    precision = torch.where(found > 0, true / found, 1.0)
    recall = true / positives[..., None]
    end = torch.ones_like(recall[..., :1])
    return torch.trapezoid(torch.cat([end, precision.flip(-1)], -1), torch.cat([0 * end, recall.flip(-1)], -1))
