"""Overlap of predicted and true masks, image by image: DRAC2022's Dice and IoU, and what they do not punish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import convert_to_tensor, string_list_all_gather

from tinylesions.metrics.bootstrap import percentile_interval, resample, resampled_values
from tinylesions.metrics.pixel_protocols import Estimate

__all__ = ["OVERLAP_SCORES", "OverlapMetric", "overlap_counts", "overlap_of_images"]

OVERLAP_SCORES = ("dice", "iou", "dice_with_empty", "false_positive_images", "false_positive_pixels")


def overlap_counts(probabilities: torch.Tensor, truth: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Count the pixels of one image.

    Args:
        probabilities: (K, H, W) float in [0, 1].
        truth: (K, H, W), non-zero is lesion.
        threshold: a pixel is predicted where its probability is this or more.

    Returns:
        (K, 4) int64: pixels of the intersection, of the prediction, of the truth, of the image.

    Raises:
        ValueError: other or different shapes, or probabilities that are NaN or outside [0, 1].
    """
    if probabilities.ndim != 3 or probabilities.shape != truth.shape:
        shapes = tuple(probabilities.shape), tuple(truth.shape)
        raise ValueError("probabilities and truth have one shape (K, H, W), got {} and {}".format(*shapes))
    least, most = probabilities.aminmax()
    # NaN fails the comparison too
    if not (least >= 0 and most <= 1):
        raise ValueError("probabilities lie in [0, 1]; got NaN or values outside: are they logits?")
    predicted, true = (probabilities >= threshold).flatten(1), truth.bool().flatten(1)
    sums = [(predicted & true).sum(1), predicted.sum(1), true.sum(1)]
    return torch.stack([*sums, torch.full_like(sums[0], true.shape[1])], dim=1)


def overlap_of_images(counts: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scores of each image.

    Args:
        counts: (N, K, 4), see :func:`overlap_counts`.

    Returns:
        Each name of `OVERLAP_SCORES` → (N, K) float64, see :class:`OverlapMetric`; NaN where the image does not count.
    """
    intersection, predicted, truth, pixels = counts.double().unbind(-1)
    empty = truth == 0
    dice = (2 * intersection / (predicted + truth)).masked_fill(empty, torch.nan)
    return {
        "dice": dice,
        "iou": (intersection / (predicted + truth - intersection)).masked_fill(empty, torch.nan),
        "dice_with_empty": torch.where(empty, (predicted == 0).double(), dice),
        "false_positive_images": (predicted > 0).double().masked_fill(~empty, torch.nan),
        "false_positive_pixels": (predicted / pixels).masked_fill(~empty, torch.nan),
    }


class OverlapMetric(CumulativeIterationMetric):
    """Dice and IoU of each lesion as the mean over images, and the false alarms in images without the lesion.

    ``dice`` and ``iou`` are those of DRAC2022: an image whose truth is empty is skipped, whatever is predicted there;
    a lesion that no image holds has no value (NaN). ``dice_with_empty`` counts every image: an empty truth scores 1
    where nothing is predicted and 0 where anything is, as in the BraTS challenges and MONAI's
    ``DiceMetric(ignore_empty=False)``. Of the images with an empty truth, ``false_positive_images`` is the share in
    which any pixel is predicted, and ``false_positive_pixels`` the mean share of their pixels that are; NaN where
    there is no such image.

    The intervals hold the middle 95 % of what the score is on images drawn with replacement from those given, without
    the draws in which it has no value. The draws are seeded and do not depend on the images' order. A score that
    fewer than two images count for has no interval (NaN), since every draw would repeat the one. Nor has the mean where
    that is so of one of the lesions it is taken over: what is not known of a part is not known of the whole. A lesion
    without a value is not among them.

    The state is four whole numbers for each image and lesion.

    Call it with `y_pred` (N, K, H, W) probabilities or a list of (K, H, W), `y` of the same shape, non-zero is the
    lesion, and optionally `ids`, a name for each image.

    Args:
        threshold: a pixel is predicted where its probability is this or more, in (0, 1].
        replicates: number of draws.
        seed: of the draws.

    Raises:
        ValueError: the threshold is out of range; when called, see :func:`overlap_counts`.

    Example:
        >>> metric = OverlapMetric()
        >>> probabilities = torch.tensor([[[[0.9, 0.8, 0.1, 0.0]]], [[[0.7, 0.0, 0.0, 0.0]]]])
        >>> _ = metric(probabilities, torch.tensor([[[[1, 0, 0, 0]]], [[[0, 0, 0, 0]]]]))
        >>> [(name, round(float(estimate.value[0]), 4)) for name, estimate in metric.aggregate().items()][:3]
        [('dice', 0.6667), ('iou', 0.5), ('dice_with_empty', 0.3333)]
    """

    def __init__(self, threshold: float = 0.5, replicates: int = 1000, seed: int = 0) -> None:
        super().__init__()
        if not 0 < threshold <= 1:
            raise ValueError(f"the threshold of a probability is in (0, 1], got {threshold}")
        self.threshold = threshold
        self.replicates = replicates
        self.seed = seed

    def reset(self) -> None:
        """Forget the images."""
        super().reset()
        self._ids: list[str] = []

    def __call__(self, y_pred: Any, y: Any = None, ids: Sequence[str] | None = None, **kwargs: Any) -> Any:
        """Add images."""
        if ids is not None and len(ids) != len(y_pred):
            raise ValueError(f"{len(y_pred)} predictions, but {len(ids)} ids")
        counts = super().__call__(y_pred, y, **kwargs)
        self._ids.extend(map(str, ids or ()))
        return counts

    def _compute_list(self, y_pred: Any, y: Any = None, **kwargs: Any) -> list[Any]:
        if y is None:
            raise ValueError("there is no truth to compare with: y must be a tensor or a list")
        counts = []
        for image, masks in zip(y_pred, y, strict=True):
            probabilities = convert_to_tensor(image, track_meta=False)
            truth = convert_to_tensor(masks, track_meta=False, device=probabilities.device)
            counts.append(overlap_counts(probabilities, truth, self.threshold))
        return [torch.stack(counts)]

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> list[Any]:
        return self._compute_list(y_pred, y)

    def _counts(self) -> torch.Tensor:
        """Counts (N, K, 4) of the images of all processes."""
        counts = self.get_buffer()
        if counts is None:
            raise ValueError("no image was given yet, there is no overlap")
        return counts.cpu()  # some accelerators have no float64

    def image_counts(self) -> tuple[list[str], torch.Tensor]:
        """Ids and counts (N, K, 4) of the images of all processes, see :func:`overlap_counts`.

        Raises:
            ValueError: images were given without ids.
        """
        counts, ids = self._counts(), string_list_all_gather(self._ids)
        if len(ids) != len(counts):
            raise ValueError(f"{len(counts)} images, but {len(ids)} ids: give the ids of every image")
        return ids, counts

    def empty_images(self) -> torch.Tensor:
        """Number of images (K,) int64 whose truth is empty."""
        return (self._counts()[..., 2] == 0).sum(0)

    def aggregate(self) -> dict[str, Estimate]:
        """Each score of `OVERLAP_SCORES`, of the K lesions and their mean."""
        counts = self._counts()
        # processes gather the images in another order, and a draw shall mean the same images
        counts = counts[torch.from_numpy(np.lexsort(counts.flatten(1).T.numpy()))]
        draws = resample(len(counts), self.replicates, self.seed)
        return {name: _estimate(values, draws) for name, values in overlap_of_images(counts).items()}


def _mean(sums: torch.Tensor) -> torch.Tensor:
    total, count = sums.unbind(-1)
    return total / count


def _estimate(values: torch.Tensor, draws: torch.Tensor) -> Estimate:
    """Mean of the images (N, K) that count, with the mean over the lesions at the end, and its interval."""
    counting = (~values.isnan()).sum(0)
    sums = torch.stack([values.nan_to_num(), (~values.isnan()).double()], dim=-1)
    value, drawn = _mean(sums.sum(0)), resampled_values(sums, _mean, draws)
    value = torch.cat([value, value.nanmean(0, keepdim=True)])
    drawn = torch.cat([drawn, drawn.nanmean(1, keepdim=True)], dim=1)
    unknown = torch.cat([counting < 2, (counting == 1).any(0, keepdim=True)])
    low, high = (end.masked_fill(unknown, torch.nan) for end in percentile_interval(drawn))
    return Estimate(value, low, high)
