"""Panoptic quality of nuclei, pooled over images for each class as in CoNIC, and of nuclei whatever their class."""

from __future__ import annotations

import numpy as np
import torch

from tinylesions.metrics.drawn_score import DrawnScore
from tinylesions.metrics.pooled_counts import PooledCountsMetric

__all__ = ["NucleiQualityMetric", "match_nuclei", "panoptic_quality"]


def panoptic_quality(counts: torch.Tensor) -> torch.Tensor:
    """Sum of the matched nuclei's IoU over matched nuclei and half of the unmatched ones (Kirillov et al. 2019).

    Args:
        counts: (..., 4), see :func:`match_nuclei`.

    Returns:
        (...) float64 in [0, 1]; NaN where there is no nucleus, neither true nor predicted.
    """
    matched, unmatched_predicted, unmatched_true, iou = counts.double().unbind(-1)
    return iou / (matched + 0.5 * unmatched_predicted + 0.5 * unmatched_true)


def match_nuclei(predicted: np.ndarray, truth: np.ndarray, num_classes: int) -> np.ndarray:
    """Match predicted and true nuclei of one class whose IoU is above 0.5, which no nucleus has with two others.

    Equal to MONAI's ``PanopticQualityMetric``, whose time and memory grow with nuclei times pixels.

    Args:
        predicted: (2, H, W) whole numbers: instance id, class; 0 is the background.
        truth: (2, H, W), likewise.
        num_classes: classes of nuclei, without the background.

    Returns:
        (num_classes, 4) float64: for each class from 1 on matched nuclei, unmatched predicted ones, unmatched true
        ones, and the sum of the matched ones' IoU.
    """
    of_predicted, predicted_sizes, predicted_classes = _nuclei(predicted, num_classes)
    of_true, true_sizes, true_classes = _nuclei(truth, num_classes)
    both = (of_predicted > 0) & (of_true > 0)
    pairs, overlap = np.unique(of_true[both] * len(predicted_sizes) + of_predicted[both], return_counts=True)
    true, found = np.divmod(pairs, len(predicted_sizes))
    iou = overlap / (true_sizes[true] + predicted_sizes[found] - overlap)
    match = (iou > 0.5) & (true_classes[true] == predicted_classes[found])
    classes = true_classes[true[match]]
    matched, ious = (np.bincount(classes, weights, num_classes + 1)[1:] for weights in (None, iou[match]))
    all_predicted, all_true = (
        np.bincount(of_nuclei[1:], minlength=num_classes + 1)[1:] for of_nuclei in (predicted_classes, true_classes)
    )
    return np.stack([matched, all_predicted - matched, all_true - matched, ious], axis=1)


def _nuclei(labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nucleus of each pixel, numbered from 1, and size and class of each nucleus, the background first.

    An instance id that has several classes is a nucleus in each of them.
    """
    ids, classes = labels.reshape(2, -1).astype(np.int64)
    keys = np.where(classes > 0, ids, 0) * (num_classes + 1) + np.where(ids > 0, classes, 0)
    inside = keys > 0
    nuclei, numbers, sizes = np.unique(keys[inside], return_inverse=True, return_counts=True)
    of_pixels = np.zeros_like(keys)
    of_pixels[inside] = numbers + 1
    return of_pixels, np.append(0, sizes), np.append(0, nuclei % (num_classes + 1))


class NucleiQualityMetric(PooledCountsMetric):
    """Panoptic quality of each class of nuclei, their mean mPQ+, and the binary bPQ.

    The quality of a class is that of the nuclei of all images together, and the mean over the classes that the truth
    holds is CoNIC's mPQ+. CoNIC gives 0 to a class without a true nucleus anywhere; here it is left out of the mean,
    and without a predicted one it has no value (NaN). The ``foreground`` is bPQ: the nuclei are matched whatever their
    class, and the quality is the mean over the images. An image without a nucleus, true or predicted, scores 0 in CoNIC
    and is left out here, so that a prediction equal to the truth has quality 1. Nothing is added to the divisor
    (CoNIC: 1e-6).

    Call it with `y_pred` (N, 2, H, W) whole numbers, or a list of (2, H, W): instance id and class, 0 is the
    background; `y` of the same shape; and optionally `sources`, see :class:`PooledCountsMetric`.

    Args:
        num_classes: classes of nuclei, without the background as in MONAI's metric; 0 for bPQ alone.
        replicates: number of draws for the intervals; 0 for none.
        seed: of the draws.

    Raises:
        ValueError: when called: other or different shapes, negative values, or classes above `num_classes`, which
            are not looked at for bPQ alone.

    Example:
        >>> metric = NucleiQualityMetric(num_classes=2)
        >>> truth = torch.tensor([[[[1, 1, 1, 0, 2]], [[1, 1, 1, 0, 2]]]])
        >>> predicted = torch.tensor([[[[1, 1, 0, 0, 2]], [[1, 1, 0, 0, 1]]]])
        >>> _ = metric(predicted, truth)
        >>> metric.aggregate()["pq"].value.round(decimals=4).tolist()  # two classes, foreground, mean
        [0.4444, 0.0, 0.8333, 0.2222]
    """

    def __init__(self, num_classes: int, replicates: int = 1000, seed: int = 0) -> None:
        super().__init__(replicates, seed)
        self.num_classes = num_classes

    def count(self, predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Counts (num_classes + 1, 4) float64 of one image, the foreground's last."""
        if predicted.ndim != 3 or len(predicted) != 2 or predicted.shape != truth.shape:
            shapes = tuple(predicted.shape), tuple(truth.shape)
            raise ValueError("prediction and truth have one shape (2, H, W), got {} and {}".format(*shapes))
        pair = predicted.cpu().numpy(), truth.cpu().numpy()
        for what, labels in zip(("prediction", "truth"), pair, strict=True):
            if labels.size and (labels.min() < 0 or labels[1].max() > self.num_classes > 0):
                raise ValueError(f"the {what} has negative numbers or classes above {self.num_classes}")
        found, true = (np.stack([ids, ids > 0]) for ids, _ in pair)
        of_any_class = match_nuclei(found, true, 1)
        quality = panoptic_quality(torch.from_numpy(of_any_class))
        # summed as one matched nucleus an image with the image's quality as its IoU, so that PQ is their mean
        image = torch.tensor([[1.0, 0.0, 0.0, quality.item()]], dtype=torch.float64)
        image = image.masked_fill(quality.isnan(), 0)
        return torch.cat([torch.from_numpy(match_nuclei(*pair, self.num_classes)), image])

    def drawn_scores(self) -> dict[str, DrawnScore]:
        """The score ``pq``, of the classes of nuclei, of the foreground, and the mean over the classes."""
        counts = self.source_counts()
        held = counts[..., [0, 2]].sum(-1) > 0  # matched or missed
        return {"pq": self.drawn_score(counts, panoptic_quality, held, self.num_classes)}
