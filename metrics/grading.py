"""Scores of an image's grade, such as the severity of diabetic retinopathy, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import convert_to_tensor

from tinylesions.metrics.bootstrap import percentile_interval, resample
from tinylesions.metrics.grading_scores import GRADING_SCORES, REFERABLE_GRADE, confusion_matrices, grading_scores

__all__ = ["GradingEstimate", "GradingMetric"]

_AT_ONCE = 50  # draws whose weights are held together: 21 MB for the 53 576 photos of EyePACS's test set


class GradingEstimate(NamedTuple):
    """A score with the ends of its interval."""

    value: float
    low: float
    high: float


class GradingMetric(CumulativeIterationMetric):
    """Scores of predicted grades: accuracy, F1, areas under ROC curves, kappa, and those of referable disease.

    ``accuracy``, ``macro_f1`` (mean over the grades), ``weighted_f1`` (weighted by the photos of each grade),
    ``roc_auc`` (each grade's probability against the rest, mean over the grades), ``roc_auc_hard`` (the same of the
    predicted grade as 1 and the others as 0), ``quadratic_kappa``; and for grades ≥ 2, which are referred,
    ``referable_roc_auc`` (of the probability P(grade ≥ 2)), ``referable_sensitivity`` and ``referable_specificity``
    (of the predicted grade, not of P(grade ≥ 2) ≥ 0.5). :func:`grading_scores` says what absent grades and equal
    probabilities do; where all photos have one grade, ``roc_auc`` is NaN.

    The intervals hold the middle 95 % of the score on photos drawn with replacement from those given, without the
    draws in which it has no value. The draws are seeded and do not depend on the photos' order. With a single photo
    there is no interval (NaN).

    Call it with `y_pred` (N, K) probabilities, or a list of (K,), and `y` (N,) or (N, 1) grades in [0, K), or a list
    of them; wider types are rounded to float32. K is at least 3.

    Args:
        replicates: number of draws.
        seed: of the draws.

    Raises:
        ValueError: for shapes that do not fit, probabilities outside [0, 1] or NaN, and grades out of range.

    Example:
        >>> metric = GradingMetric()
        >>> _ = metric(torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.5, 0.4]]), torch.tensor([0, 1, 2]))
        >>> round(metric.aggregate()["accuracy"].value, 4)
        0.6667
        >>> metric.confusion_matrix().tolist()
        [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    """

    def __init__(self, replicates: int = 1000, seed: int = 0) -> None:
        super().__init__()
        self.replicates = replicates
        self.seed = seed

    def _compute_list(self, y_pred: Any, y: Any = None, **kwargs: Any) -> list[Any]:
        if y is None or len(y_pred) != len(y):
            raise ValueError(f"{len(y_pred)} predictions, but {0 if y is None else len(y)} grades")
        return self._compute_tensor(_stack(y_pred), _stack([torch.as_tensor(grade).flatten() for grade in y]))

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> list[Any]:
        if y is None:
            raise ValueError("there are no grades to compare with: y must be a tensor or a list")
        probabilities = convert_to_tensor(y_pred, track_meta=False, dtype=torch.float32)
        grades = convert_to_tensor(y, track_meta=False, device=probabilities.device)
        _check(probabilities, grades)
        if self._buffers and self._buffers[0][0].shape != probabilities[0].shape:
            raise ValueError(f"{len(probabilities[0])} probabilities a photo, but {len(self._buffers[0][0])} before")
        return [probabilities, grades.reshape(-1).long()]

    def _photos(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities and grades of the photos of all processes."""
        buffers = self.get_buffer()
        if buffers is None:
            raise ValueError("no photo was given yet, there are no grades to score")
        # some accelerators have no float64
        probabilities, grades = (buffer.cpu() for buffer in buffers)
        # processes gather the photos in another order, and a draw shall mean the same photos
        order = torch.from_numpy(np.lexsort(torch.cat([probabilities, grades[:, None]], 1).T.numpy()))
        return probabilities[order], grades[order]

    def aggregate(self) -> dict[str, GradingEstimate]:
        """Each score of `GRADING_SCORES` with its interval."""
        probabilities, grades = self._photos()
        values = grading_scores(probabilities, grades, torch.ones(1, len(grades), dtype=torch.float64))
        drawn = torch.full((1, len(GRADING_SCORES)), torch.nan, dtype=torch.float64)
        if len(grades) > 1:
            parts = [grading_scores(probabilities, grades, w) for w in draws(len(grades), self.replicates, self.seed)]
            drawn = torch.cat([torch.stack([part[name] for name in GRADING_SCORES], 1) for part in parts])
        ends = zip(*(end.tolist() for end in percentile_interval(drawn)), strict=True)
        return {
            name: GradingEstimate(values[name].item(), *pair) for name, pair in zip(GRADING_SCORES, ends, strict=True)
        }

    def confusion_matrix(self) -> torch.Tensor:
        """Number of photos (K, K) int64 of each true grade, the row, and predicted grade, the column."""
        probabilities, grades = self._photos()
        once = torch.ones(1, len(grades), dtype=torch.float64)
        return confusion_matrices(grades, probabilities.argmax(1), probabilities.shape[1], once)[0].long()


def draws(photos: int, replicates: int, seed: int) -> Iterator[torch.Tensor]:
    """The draws of :func:`resample`, a few at a time: all of them would not fit into memory."""
    seeds = np.random.SeedSequence(seed).generate_state(-(-replicates // _AT_ONCE))
    for done, part in zip(range(0, replicates, _AT_ONCE), seeds.tolist(), strict=True):
        yield resample(photos, min(_AT_ONCE, replicates - done), part)


def _stack(values: Sequence[Any]) -> torch.Tensor:
    tensors = [torch.as_tensor(value) for value in values]
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) != 1:
        raise ValueError(f"the photos' values must have one shape, and have {sorted(shapes) or 'none'}")
    return torch.stack(tensors)


def _check(probabilities: torch.Tensor, grades: torch.Tensor) -> None:
    """Refuse what is no probabilities (N, K) and grades (N,) or (N, 1)."""
    if probabilities.ndim != 2 or 0 in probabilities.shape or probabilities.shape[1] <= REFERABLE_GRADE:
        raise ValueError(f"probabilities must be (N, K) with K ≥ 3 grades, and are {tuple(probabilities.shape)}")
    photos, classes = probabilities.shape
    if grades.shape not in ((photos,), (photos, 1)):
        raise ValueError(f"grades of {photos} photos must be (N,) or (N, 1), and are {tuple(grades.shape)}")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1], and some do not or are NaN: are they logits?")
    if not ((grades >= 0) & (grades < classes) & (grades == grades.round())).all():
        raise ValueError(f"grades must be whole numbers from 0 to {classes - 1}: {grades.unique().tolist()}")
