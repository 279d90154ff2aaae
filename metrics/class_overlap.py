"""Dice, IoU, precision and recall of each class of pixels, pooled over all images."""

from __future__ import annotations

from functools import partial

import torch

from tinylesions.metrics.drawn_score import DrawnScore
from tinylesions.metrics.pooled_counts import PooledCountsMetric

__all__ = ["CLASS_SCORES", "ClassOverlapMetric", "class_overlap", "confusion_matrix"]

CLASS_SCORES = ("dice", "iou", "precision", "recall")


def confusion_matrix(predicted: torch.Tensor, truth: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Count the pixels of each pair of classes in one image.

    Args:
        predicted: (1, H, W) class numbers, in whole numbers of any type.
        truth: (1, H, W) class numbers.
        num_classes: K, the background among them.

    Returns:
        (K, K) int64: pixels of each true class, the row, and predicted class, the column.

    Raises:
        ValueError: other or different shapes, or values that are no class numbers.
    """
    if predicted.ndim != 3 or len(predicted) != 1 or predicted.shape != truth.shape:
        shapes = tuple(predicted.shape), tuple(truth.shape)
        raise ValueError("prediction and truth have one shape (1, H, W), got {} and {}".format(*shapes))
    numbers = []
    for what, values in (("prediction", predicted), ("truth", truth)):
        classes = values.long()
        if not ((classes == values) & (classes >= 0) & (classes < num_classes)).all():
            raise ValueError(f"the {what}'s class numbers are not all whole numbers from 0 to {num_classes - 1}")
        numbers.append(classes.flatten())
    columns, rows = numbers
    return torch.bincount(rows * num_classes + columns, minlength=num_classes**2).unflatten(0, (num_classes, -1))


def class_overlap(counts: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scores of pixel counts.

    Args:
        counts: (..., 3): pixels of the intersection, of the prediction, of the truth.

    Returns:
        Each name of `CLASS_SCORES` → (...) float64, NaN where neither prediction nor truth has a pixel. Where one of
        them has, the score is 0 that would divide by the other's none, as with scikit-learn's ``zero_division=0``.
    """
    both, predicted, truth = counts.double().unbind(-1)
    absent = predicted + truth == 0
    return {
        "dice": 2 * both / (predicted + truth),
        "iou": both / (predicted + truth - both),
        "precision": (both / predicted.clamp(min=1)).masked_fill(absent, torch.nan),
        "recall": (both / truth.clamp(min=1)).masked_fill(absent, torch.nan),
    }


def _score(counts: torch.Tensor, name: str) -> torch.Tensor:
    return class_overlap(counts)[name]


class ClassOverlapMetric(PooledCountsMetric):
    """Dice, IoU, precision and recall of each class, pooled over all pixels of all images.

    The mean is over all classes that the truth holds, with the background, so that the mean of ``iou`` is the mIoU of
    the class imbalance paper (tables 4.3 and 4.9). A class that neither prediction nor truth has anywhere has no value
    (NaN). A class that is in the truth but never predicted has precision 0; one that is predicted but never true has
    scores of 0 and is not in the mean, see :func:`class_overlap`. :class:`PooledCountsMetric` says how the intervals
    are made.

    The state is the confusion matrix of each image.

    Call it with `y_pred` (N, 1, H, W) class numbers, or a list of (1, H, W), `y` of the same shape, and optionally
    `sources`, the name of what each image was cut from.

    Args:
        num_classes: K ≥ 2, the background, class 0, among them.
        foreground: add a column for any class but the background against the background, which the mean leaves out.
        replicates: number of draws for the intervals; 0 for none.
        seed: of the draws.

    Raises:
        ValueError: fewer than 2 classes; when called, see :func:`confusion_matrix`.

    Example:
        >>> metric = ClassOverlapMetric(num_classes=3)
        >>> _ = metric(torch.tensor([[[[0, 1, 1, 2]]]]), torch.tensor([[[[0, 0, 1, 1]]]]))
        >>> metric.aggregate()["iou"].value.round(decimals=4).tolist()  # three classes, foreground, mean of two
        [0.5, 0.3333, 0.0, 0.6667, 0.4167]
    """

    def __init__(self, num_classes: int, foreground: bool = True, replicates: int = 1000, seed: int = 0) -> None:
        super().__init__(replicates, seed)
        if num_classes < 2:
            raise ValueError(f"there are at least 2 classes, the background and another, not {num_classes}")
        self.num_classes = num_classes
        self.foreground = foreground

    def count(self, predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Confusion matrix (K, K) of one image."""
        return confusion_matrix(predicted, truth, self.num_classes)

    def confusion_matrix(self) -> torch.Tensor:
        """Pixels (K, K) int64 of each true class, the row, and predicted class, the column, of all images."""
        return self.image_counts().sum(0)

    def drawn_scores(self) -> dict[str, DrawnScore]:
        """Each score of `CLASS_SCORES`, of the K classes, of the foreground where it is wanted, and the mean."""
        matrices = self.source_counts()
        columns = [matrices.diagonal(dim1=1, dim2=2), matrices.sum(1), matrices.sum(2)]
        counts = torch.stack(columns, dim=-1)
        if self.foreground:
            parts = matrices[:, 1:, 1:].sum((1, 2)), matrices[:, :, 1:].sum((1, 2)), matrices[:, 1:].sum((1, 2))
            counts = torch.cat([counts, torch.stack(parts, dim=-1)[:, None]], dim=1)
        held = counts[..., 2] > 0
        return {
            name: self.drawn_score(counts, partial(_score, name=name), held, self.num_classes) for name in CLASS_SCORES
        }
