"""What the metrics of pooled counts share: counts of each image, and scores of their sums with 95 % intervals."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import convert_to_tensor, string_list_all_gather

from tinylesions.metrics.bootstrap import resample, resampled_values
from tinylesions.metrics.drawn_score import DrawnScore
from tinylesions.metrics.pixel_protocols import Estimate

__all__ = ["PooledCountsMetric"]


class PooledCountsMetric(CumulativeIterationMetric):
    """Scores of counts that are summed over images before anything is divided.

    Subclasses count one image in `count` and name their scores in `drawn_scores`, with `drawn_score`. Call it with
    `y_pred` and `y`, batches or lists, and optionally `sources`, the name of what each image was cut from.

    The intervals hold the middle 95 % of what a score is on sources drawn with replacement from those given, since
    patches of one tile resemble each other; on images where no sources are given. The draws are seeded and do not
    depend on the images' order. Those of one seed are the same sources for every metric that is given them, so that
    scores can be subtracted draw by draw, see :meth:`DrawnScore.minus`. A class that the truth of fewer than two
    sources holds has no interval (NaN), and nor has the mean where that is so of one of the classes it is taken over.
    A draw is left out for a class that has no value in it.

    Args:
        replicates: number of draws; 0 for no intervals (all NaN).
        seed: of the draws.
    """

    def __init__(self, replicates: int = 1000, seed: int = 0) -> None:
        super().__init__()
        self.replicates = replicates
        self.seed = seed

    def reset(self) -> None:
        """Forget the images."""
        super().reset()
        self._sources: list[str] = []

    def __call__(self, y_pred: Any, y: Any = None, sources: Sequence[str] | None = None, **kwargs: Any) -> Any:
        """Add images."""
        if y is None or len(y) != len(y_pred):
            raise ValueError(f"{len(y_pred)} predictions, but {0 if y is None else len(y)} truths")
        if sources is not None and len(sources) != len(y_pred):
            raise ValueError(f"{len(y_pred)} predictions, but {len(sources)} sources")
        counts = super().__call__(y_pred, y, **kwargs)
        self._sources.extend(map(str, sources or ()))
        return counts

    @abstractmethod
    def count(self, predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Counts of one image, which add up over images."""

    @abstractmethod
    def drawn_scores(self) -> dict[str, DrawnScore]:
        """Each score with its values on the draws."""

    def aggregate(self) -> dict[str, Estimate]:
        """Each score of `drawn_scores` with its interval."""
        return {name: score.estimate() for name, score in self.drawn_scores().items()}

    def _compute_list(self, y_pred: Any, y: Any = None, **kwargs: Any) -> list[Any]:
        counts = []
        for of_prediction, of_truth in zip(y_pred, y, strict=True):
            predicted = convert_to_tensor(of_prediction, track_meta=False)
            counts.append(self.count(predicted, convert_to_tensor(of_truth, track_meta=False, device=predicted.device)))
        return [torch.stack(counts)]

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> list[Any]:
        return self._compute_list(y_pred, y)

    def image_counts(self) -> torch.Tensor:
        """Counts (N, ...) of the images of all processes."""
        counts = self.get_buffer()
        if counts is None:
            raise ValueError("no image was given yet, there is nothing to score")
        return counts.cpu()  # some accelerators have no float64

    def source_counts(self) -> torch.Tensor:
        """Counts (S, ...) of the sources of all processes, or of the images where no sources were given.

        Raises:
            ValueError: some images were given with a source and some without.
        """
        counts, sources = self.image_counts(), string_list_all_gather(self._sources)
        if sources and len(sources) != len(counts):
            raise ValueError(f"{len(counts)} images, but {len(sources)} sources: give the source of every image")
        names, index = np.unique(sources or [""] * len(counts), return_inverse=True)
        # processes gather the images in another order, and a draw shall mean the same ones, by name where they have one
        order = torch.from_numpy(np.lexsort([*counts.flatten(1).T.numpy(), index]))
        counts = counts[order]
        if not sources:
            return counts
        summed = counts.new_zeros(len(names), *counts.shape[1:])
        return summed.index_add_(0, torch.from_numpy(index)[order], counts)

    def source_names(self) -> tuple[str, ...]:
        """Sources of all processes in the order of `source_counts`; none where none were given."""
        return tuple(sorted(set(string_list_all_gather(self._sources))))

    def drawn_score(
        self, counts: torch.Tensor, score: Callable[[torch.Tensor], torch.Tensor], held: torch.Tensor, classes: int
    ) -> DrawnScore:
        """A score of each column and its mean over those of the first that the truth holds.

        Which classes these are depends on the images alone: were it on the prediction, a mean would rise where the last
        false pixel of a class that is not there is removed.

        Args:
            counts: (S, C, ...) counts of each source and column.
            score: takes sums (..., P), gives (...); NaN where there is no value.
            held: (S, C) bool: the source's truth holds the column's class.
            classes: the number of columns that the mean is taken over, as far as the truth holds them.

        Returns:
            Score of C + 1 columns, the mean at the end.
        """
        value = score(counts.sum(0).double())
        value = torch.cat([value, _mean_of(value, held.any(0), classes)])
        unknown = held.sum(0) < 2
        of_mean = (unknown & held.any(0))[:classes].any(0, keepdim=True)
        draws = resample(len(counts), self.replicates, self.seed)
        drawn = resampled_values(counts, score, draws)
        drawn = torch.cat([drawn, _mean_of(drawn, draws @ held.double() > 0, classes)], dim=1)
        return DrawnScore(value, drawn, ~torch.cat([unknown, of_mean]), self.source_names(), self.seed)


def _mean_of(values: torch.Tensor, held: torch.Tensor, classes: int) -> torch.Tensor:
    """Mean (..., 1) of the first columns of (..., C) that are held."""
    return values.masked_fill(~held, torch.nan)[..., :classes].nanmean(-1, keepdim=True)
