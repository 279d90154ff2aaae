"""Lesions found and missed, false alarms and pixel scores at given thresholds, as a user of predictions meets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import convert_to_tensor

from tinylesions.metrics.free_response import match_candidates
from tinylesions.metrics.operating_point import operating_point

__all__ = ["DetectionScores", "LesionDetectionMetric", "detection_counts"]


class DetectionScores(NamedTuple):
    """An operating point, the numbers of lesions and of those found, false alarms a photo: (C,) float64 or int64."""

    threshold: torch.Tensor
    dice: torch.Tensor
    precision: torch.Tensor
    recall: torch.Tensor
    dice_at_half: torch.Tensor
    lesions: torch.Tensor
    found: torch.Tensor
    false_alarms_per_photo: torch.Tensor


def detection_counts(
    scores: np.ndarray, truth: np.ndarray, mask: np.ndarray | None, threshold: float, overlap: float = 0.2
) -> list[int]:
    """Count pixels and lesions of one class in one photo.

    Args:
        scores: (H, W) float probabilities in [0, 1].
        truth: (H, W) bool.
        mask: (H, W) bool, the field of view; nothing is predicted outside, lesions there are missed.
        threshold: score ≥ threshold is predicted.
        overlap: see :func:`~tinylesions.metrics.free_response.match_candidates`.

    Returns:
        Pixels found and predicted at the threshold and at 0.5, true pixels, lesions, found ones, false alarms.
    """
    pixels = []
    for least in (threshold, 0.5):
        predicted = scores >= least
        if mask is not None:
            predicted &= mask
        pixels += [int(np.count_nonzero(predicted & truth)), int(np.count_nonzero(predicted))]
    lesion_scores, false_alarms = match_candidates(scores, truth, mask, threshold, overlap)
    true, found = int(np.count_nonzero(truth)), int(np.count_nonzero(lesion_scores))
    return [*pixels, true, len(lesion_scores), found, len(false_alarms)]


class LesionDetectionMetric(CumulativeIterationMetric):
    """Scores of pixels and of lesions over all photos, at a given threshold for each class.

    A lesion is an 8-connected component of the truth, a prediction one of the pixels with score ≥ threshold. What is
    found and what is a false alarm is said in :func:`~tinylesions.metrics.free_response.match_candidates`; there the
    candidates are those of a low threshold, here they are those of the class's own. Pixels of all photos are pooled.

    The state is sums: its size does not depend on the number of photos, and it adds up over processes. A class that no
    photo holds has no Dice, precision and recall (NaN), but false alarms all the same.

    Call it with `y_pred` (N, C, H, W) probabilities or a list of (C, H, W), `y` of the same shape, non-zero is the
    lesion, and optionally `mask` (N, 1, H, W), non-zero is the field of view.

    Args:
        thresholds: of the C classes, above 0 and below 1.
        overlap: least share of a prediction that lies on lesions, in [0, 1].

    Raises:
        ValueError: an argument out of range; when called, scores that are NaN or outside [0, 1], or shapes that differ.

    Example:
        >>> metric = LesionDetectionMetric([0.75])
        >>> _ = metric(torch.tensor([[[[0.9, 0.0, 0.8, 0.0, 0.6]]]]), torch.tensor([[[[1, 0, 0, 0, 1]]]]))
        >>> scores = metric.aggregate()
        >>> int(scores.lesions), int(scores.found), float(scores.false_alarms_per_photo), float(scores.recall)
        (2, 1, 1.0, 0.5)
    """

    def __init__(self, thresholds: Sequence[float], overlap: float = 0.2) -> None:
        super().__init__()
        if not thresholds or not all(0 < threshold < 1 for threshold in thresholds):
            raise ValueError(f"thresholds are above 0 and below 1, one for each class, got {list(thresholds)}")
        if not 0 <= overlap <= 1:
            raise ValueError(f"the overlap is a share, in [0, 1], got {overlap}")
        self.thresholds = tuple(map(float, thresholds))
        self.overlap = overlap

    def extend(self, *data: torch.Tensor) -> None:
        """Add the photos' counts (N, C, 9) to the sums."""
        super().extend(*data)
        for counts in self._buffers or []:
            counts[:] = [torch.stack(counts).sum(0)]

    def _compute_list(self, y_pred: Any, y: Any = None, mask: Any = None, **kwargs: Any) -> Any:
        masks = [None] * len(y_pred) if mask is None else mask
        photos = zip(y_pred, y, masks, strict=True)
        parts = (convert_to_tensor(photo, track_meta=False, device=torch.device("cpu")) for photo in photos)
        return torch.stack([self._photo_counts(*part) for part in parts])

    def _compute_tensor(
        self, y_pred: torch.Tensor, y: torch.Tensor | None = None, mask: torch.Tensor | None = None, **kwargs: Any
    ) -> Any:
        return self._compute_list(y_pred, y, mask)

    def _photo_counts(self, scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Counts (C, 9) of one photo: those of :func:`detection_counts`, and the photo itself."""
        if scores.shape != truth.shape or (mask is not None and mask.shape != (1, *scores.shape[1:])):
            shapes = [None if part is None else tuple(part.shape) for part in (scores, truth, mask)]
            raise ValueError("shapes of probabilities, truth and mask do not fit together: {}, {}, {}".format(*shapes))
        least, most = scores.aminmax()
        # NaN fails the comparison too
        if not (least >= 0 and most <= 1):
            raise ValueError("scores are probabilities in [0, 1]; got NaN or values outside")
        inside = None if mask is None else mask[0].bool().numpy()
        classes = zip(scores.detach().float().numpy(), truth.bool().numpy(), self.thresholds, strict=True)
        counts = [[*detection_counts(s, t, inside, threshold, self.overlap), 1] for s, t, threshold in classes]
        return torch.tensor(counts)

    def aggregate(self) -> DetectionScores:
        """Scores of each class."""
        counts = self.get_buffer()
        if counts is None:
            raise ValueError("no photo was given yet, there is no detection")
        found_at, predicted_at, found_half, predicted_half, true, lesions, found, false_alarms, photos = (
            counts.sum(0).cpu().unbind(-1)
        )
        point = operating_point(
            torch.tensor(self.thresholds, dtype=torch.float64),
            torch.stack([found_at, predicted_at, true], -1),
            torch.stack([found_half, predicted_half, true], -1),
        )
        return DetectionScores(*point, lesions, found, false_alarms.double() / photos)
