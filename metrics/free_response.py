"""Lesion-level free-response scores: how many lesions are found at how many false positives a photo.

A lesion is an 8-connected component of the truth mask. A candidate is an 8-connected component of the probabilities
at or above a low threshold, inside the field of view; its score is its highest probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import convert_to_tensor
from scipy import ndimage

from tinylesions.metrics.score_histogram import score_bins, score_histogram

__all__ = [
    "FALSE_POSITIVE_RATES",
    "FreeResponseMetric",
    "FreeResponseScores",
    "match_candidates",
    "sensitivity_at_rates",
]

FALSE_POSITIVE_RATES = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)
"""False positives a photo at which sensitivity is read (Niemeijer et al. 2010, Retinopathy Online Challenge)."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.uint8)
_LEAST_THRESHOLD = 1e-6  # candidates stay clear of the histogram's lowest bin, which counts the missed lesions


class FreeResponseScores(NamedTuple):
    """Scores of C lesions: `sensitivity` is (C, 7) float64, the counts at probability 0.5 are (C,) int64."""

    sensitivity: torch.Tensor
    true_positives: torch.Tensor
    false_positives: torch.Tensor
    false_negatives: torch.Tensor

    @property
    def score(self) -> torch.Tensor:
        """Mean of the seven sensitivities: (C,) float64."""
        return self.sensitivity.mean(-1)


def match_candidates(
    scores: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None, threshold: float = 0.1, overlap: float = 0.2
) -> tuple[np.ndarray, np.ndarray]:
    """Match the candidates of one lesion class in one photo with its lesions.

    A candidate is a hit when it touches a lesion and at least the share `overlap` of its pixels lies on lesions; all
    others are false positives. A lesion is detected by the hits that touch it, with the highest of their scores.

    Args:
        scores: (H, W) float probabilities in [0, 1].
        truth: (H, W) bool.
        mask: (H, W) bool, the field of view. Lesions outside cannot be detected.
        threshold: lowest probability of a candidate's pixels.
        overlap: see above.

    Returns:
        The score of each lesion, 0 where it is missed, and the score of each false positive.
    """
    lesions, lesion_count = ndimage.label(truth, structure=_EIGHT_NEIGHBOURS)
    predicted = scores >= threshold
    if mask is not None:
        predicted &= mask
    candidates, candidate_count = ndimage.label(predicted, structure=_EIGHT_NEIGHBOURS)

    # everything below runs over the candidates' pixels only, some thousandths of the photo
    pixels = np.flatnonzero(predicted)
    candidate, lesion = candidates.ravel()[pixels], lesions.ravel()[pixels]
    candidate_scores = np.zeros(candidate_count + 1, dtype=scores.dtype)
    np.maximum.at(candidate_scores, candidate, scores.ravel()[pixels])

    area = np.bincount(candidate, minlength=candidate_count + 1)
    area_on_lesions = np.bincount(candidate[lesion > 0], minlength=candidate_count + 1)
    hit = (area_on_lesions > 0) & (area_on_lesions >= overlap * area)

    detecting = (lesion > 0) & hit[candidate]
    lesion_scores = np.zeros(lesion_count + 1, dtype=scores.dtype)
    np.maximum.at(lesion_scores, lesion[detecting], candidate_scores[candidate[detecting]])
    return lesion_scores[1:], candidate_scores[1:][~hit[1:]]


def sensitivity_at_rates(histogram: torch.Tensor, photos: int) -> torch.Tensor:
    """Sensitivity at each of ``FALSE_POSITIVE_RATES``.

    The curve starts at (0, 0) and has a point for each threshold, joined by straight lines. Where several thresholds
    give one rate, the highest sensitivity counts; beyond the last point, its sensitivity.

    Args:
        histogram: (2, bins) counts by score: false positives, lesions; missed lesions are in the lowest bin.
        photos: number of photos, those without the lesion too.

    Returns:
        (7,) float64 in [0, 1], NaN where there is no lesion.
    """
    lesions = int(histogram[1].sum())
    if lesions == 0:
        return torch.full((len(FALSE_POSITIVE_RATES),), torch.nan, dtype=torch.float64)
    counts = histogram[:, 1:].flip(-1).cumsum(-1)
    false_positives, detected = np.pad(counts.numpy(), ((0, 0), (1, 0)))
    return torch.from_numpy(np.interp(FALSE_POSITIVE_RATES, false_positives / photos, detected / lesions))


class FreeResponseMetric(CumulativeIterationMetric):
    """Free-response operating characteristic of each lesion over all photos.

    ``aggregate`` gives the sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a photo, whose mean is the
    score of the Retinopathy Online Challenge (Niemeijer et al. 2010, IEEE TMI 29), and the lesions detected, missed
    and falsely reported at probability 0.5. A lesion that no photo holds has no sensitivity (NaN), but false positives
    all the same. See :func:`match_candidates` for what a detection is.

    Without a share of overlap, a map that is above the threshold everywhere would be one candidate that touches every
    lesion: a perfect score for knowing nothing. The share and its value are those of Zhang et al. 2014 (exudates,
    Medical Image Analysis 18); 0 asks for a single common pixel.

    The state is sums: a histogram of scores for each class and the number of photos. Its size does not depend on the
    number of photos, and it adds up over processes.

    Call it with `y_pred` (N, C, H, W) probabilities or a list of (C, H, W), `y` of the same shape, non-zero is the
    lesion, and optionally `mask` (N, 1, H, W), non-zero is the field of view.

    Args:
        threshold: lowest probability of a candidate's pixels, in [1e-6, 1].
        overlap: least share of a candidate that lies on lesions, in [0, 1].

    Raises:
        ValueError: an argument out of range; when called, scores that are NaN or outside [0, 1], or shapes that differ.

    Example:
        >>> metric = FreeResponseMetric()
        >>> _ = metric(torch.tensor([[[[0.9, 0.0, 0.8, 0.0, 0.0]]]]), torch.tensor([[[[1, 0, 0, 0, 1]]]]))
        >>> scores = metric.aggregate()
        >>> scores.sensitivity[0].tolist(), scores.false_positives.tolist()
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [1])
    """

    def __init__(self, threshold: float = 0.1, overlap: float = 0.2) -> None:
        super().__init__()
        if not _LEAST_THRESHOLD <= threshold <= 1:
            raise ValueError(f"a candidate's threshold is in [{_LEAST_THRESHOLD}, 1], got {threshold}")
        if not 0 <= overlap <= 1:
            raise ValueError(f"the overlap is a share, in [0, 1], got {overlap}")
        self.threshold = threshold
        self.overlap = overlap

    def extend(self, *data: torch.Tensor) -> None:
        """Add the photos' histograms (N, C, 2, bins), and their number as N ones, to the sums."""
        super().extend(*data)
        for photos in self._buffers or []:
            photos[:] = [torch.stack(photos).sum(0)]

    def _compute_list(
        self, y_pred: Any, y: Any = None, mask: Any = None, **kwargs: Any
    ) -> list[torch.Tensor | Sequence[torch.Tensor]]:
        return [*self._compute_tensor(y_pred, y, mask)]

    def _compute_tensor(self, y_pred: Any, y: Any = None, mask: Any = None, **kwargs: Any) -> list[torch.Tensor]:
        masks = [None] * len(y_pred) if mask is None else mask
        photos = zip(y_pred, y, masks, strict=True)
        # an engine moves photo and label to its device, not the mask
        parts = (convert_to_tensor(photo, track_meta=False, device=photo[0].device) for photo in photos)
        histograms = [self._photo_histograms(*part) for part in parts]
        return [torch.stack(histograms), torch.ones(len(histograms), dtype=torch.int64)]

    def _photo_histograms(self, scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Histograms (C, 2, bins) of one photo's false positives and lesions."""
        if scores.shape != truth.shape or (mask is not None and mask.shape != (1, *scores.shape[1:])):
            shapes = [None if part is None else tuple(part.shape) for part in (scores, truth, mask)]
            raise ValueError("shapes of probabilities, truth and mask do not fit together: {}, {}, {}".format(*shapes))
        least, most = scores.aminmax()
        # NaN fails the comparison too
        if not (least >= 0 and most <= 1):
            raise ValueError("scores are probabilities in [0, 1]; got NaN or values outside")
        inside = None if mask is None else mask[0].bool().cpu().numpy()
        histograms = []
        for channel, lesion in zip(scores.detach().float().cpu().numpy(), truth.bool().cpu().numpy(), strict=True):
            detected, false_positives = match_candidates(channel, lesion, inside, self.threshold, self.overlap)
            every = torch.from_numpy(np.concatenate([detected, false_positives]))
            histograms.append(score_histogram(every, torch.arange(len(every)) < len(detected)))
        return torch.stack(histograms)

    def aggregate(self) -> FreeResponseScores:
        """Scores of each class."""
        buffers = self.get_buffer()
        if buffers is None:
            raise ValueError("no photo was given yet, there is no sensitivity")
        histograms, photos = (buffer.sum(0).cpu() for buffer in buffers)
        sensitivity = torch.stack([sensitivity_at_rates(histogram, int(photos)) for histogram in histograms])
        # 0.5 is the edge of a bin
        at_half = histograms[..., score_bins(torch.tensor(0.5)) :].sum(-1)
        false_positives, true_positives = at_half.unbind(-1)
        return FreeResponseScores(
            sensitivity, true_positives, false_positives, histograms[:, 1].sum(-1) - true_positives
        )
