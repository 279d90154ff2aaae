"""Scores of predicted grades, for many weightings of the photos at once: what intervals from resampled photos need."""

from __future__ import annotations

import torch
from torch.nn.functional import one_hot, pad

__all__ = ["GRADING_SCORES", "REFERABLE_GRADE", "confusion_matrices", "grading_scores", "roc_auc"]

GRADING_SCORES = (
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "roc_auc",
    "roc_auc_hard",
    "quadratic_kappa",
    "referable_roc_auc",
    "referable_sensitivity",
    "referable_specificity",
)

REFERABLE_GRADE = 2
"""Diabetic retinopathy is referable from this grade (moderate, non-proliferative) on."""


def confusion_matrices(
    grades: torch.Tensor, predicted: torch.Tensor, classes: int, weights: torch.Tensor
) -> torch.Tensor:
    """Count the photos of each true and predicted grade.

    Args:
        grades: (N,) integers in [0, classes).
        predicted: (N,) likewise.
        classes: number of grades K.
        weights: (R, N) float64: how often each photo counts, for R weightings.

    Returns:
        (R, K, K) float64, rows the true grade.
    """
    cells = one_hot(grades * classes + predicted, classes**2).to(weights.dtype)
    return (weights @ cells).unflatten(1, (classes, classes))


def roc_auc(scores: torch.Tensor, positive: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Area under the ROC curve: the share of pairs of a positive and another photo whose order is right, ties half.

    Args:
        scores: (N,) the higher, the surer.
        positive: (N,) bool.
        weights: (R, N) float64: how often each photo counts, for R weightings.

    Returns:
        (R,) float64; NaN where all photos that count are positive, or none is.

    Example:
        >>> scores, positive = torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([False, False, True, True])
        >>> roc_auc(scores, positive, torch.ones(1, 4, dtype=torch.float64)).item()
        0.875
    """
    sorted_others, order = scores[~positive].sort()
    others = (~positive).nonzero().squeeze(1)[order]
    below = pad(weights[:, others].cumsum(1), (1, 0))
    first, last = (torch.searchsorted(sorted_others, scores[positive], right=right) for right in (False, True))
    of_positive = weights[:, positive]
    twice_right = (of_positive * (below[:, first] + below[:, last])).sum(1)
    return twice_right / (2 * of_positive.sum(1) * below[:, -1])


def grading_scores(probabilities: torch.Tensor, grades: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every score of grades, for each weighting of the photos.

    The predicted grade is that of the highest probability, the lowest among equal ones. A grade that no photo has is
    left out of `roc_auc` and `roc_auc_hard`; `macro_f1` leaves it out unless it was predicted, which counts 0. In
    `quadratic_kappa` it keeps its place, so that 0 and 2 are two grades apart also where no photo has grade 1.

    Args:
        probabilities: (N, K) of K grades.
        grades: (N,) int64 in [0, K).
        weights: (R, N) float64: how often each photo counts, for R weightings.

    Returns:
        For each name of `GRADING_SCORES` (R,) float64; NaN where a score has nothing to divide by.
    """
    classes = probabilities.shape[1]
    confusion = confusion_matrices(grades, probabilities.argmax(1), classes, weights)
    areas = [roc_auc(scores, grades == grade, weights) for grade, scores in enumerate(probabilities.unbind(1))]
    referable = probabilities[:, REFERABLE_GRADE:].double().sum(1)
    return {
        **_from_confusion(confusion),
        "roc_auc": torch.stack(areas, 1).nanmean(1),
        "referable_roc_auc": roc_auc(referable, grades >= REFERABLE_GRADE, weights),
    }


def _from_confusion(confusion: torch.Tensor) -> dict[str, torch.Tensor]:
    """The scores that need the predicted grade only, from (R, K, K) counts."""
    photos = confusion.sum((1, 2))
    right = confusion.diagonal(dim1=1, dim2=2)
    true, predicted = confusion.sum(2), confusion.sum(1)
    f1 = 2 * right / (true + predicted)
    sensitivity = right / true
    false_alarms = (predicted - right) / (photos[:, None] - true)
    grade = torch.arange(confusion.shape[1], dtype=confusion.dtype, device=confusion.device)
    disagreement = (grade[:, None] - grade).square()
    by_chance = true[:, :, None] * predicted[:, None, :] / photos[:, None, None]
    low, high = slice(None, REFERABLE_GRADE), slice(REFERABLE_GRADE, None)
    return {
        "accuracy": right.sum(1) / photos,
        "macro_f1": f1.nanmean(1),
        "weighted_f1": (f1 * true).nansum(1) / photos,
        # the curve of a yes or no has one corner
        "roc_auc_hard": ((1 + sensitivity - false_alarms) / 2).nanmean(1),
        "quadratic_kappa": 1 - (disagreement * confusion).sum((1, 2)) / (disagreement * by_chance).sum((1, 2)),
        "referable_sensitivity": confusion[:, high, high].sum((1, 2)) / true[:, high].sum(1),
        "referable_specificity": confusion[:, low, low].sum((1, 2)) / true[:, low].sum(1),
    }
