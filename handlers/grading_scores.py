"""Scores of predicted grades as an engine's metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ignite.engine import Engine
from ignite.metrics.metric import reinit__is_reduced
from monai.handlers import IgniteMetricHandler

from tinylesions.metrics import GRADING_SCORES, GradingMetric

__all__ = ["GradingScores"]


class GradingScores(IgniteMetricHandler):
    """Every score of the grades with its 95 % interval, and the confusion matrix.

    ``engine.state.metrics`` gets each name of `GRADING_SCORES`, the same with ``_low`` and ``_high`` for the ends of
    the interval, and one score under the metric's own name. ``engine.state.confusion_matrix`` gets the counts, a list
    of rows, one a true grade: among the metrics it would be no number, which trackers refuse. What has no value is
    NaN, see :class:`GradingMetric`; without a single graded photo it raises ValueError.

    Args:
        output_transform: gives (probabilities, grades) of an iteration, a list of (K,) and a list of whole numbers;
            an iteration whose lists are empty is left out.
        score: which score stands under the metric's own name.
    """

    metric_fn: GradingMetric

    def __init__(self, output_transform: Callable = lambda output: output, score: str = "accuracy") -> None:
        if score not in GRADING_SCORES:
            raise ValueError(f"there is no score {score!r} of grades, there are {', '.join(GRADING_SCORES)}")
        super().__init__(metric_fn=GradingMetric(), output_transform=output_transform, save_details=False)
        self._skip_unrolling = True  # the metric takes all photos of an iteration
        self.score = score

    def attach(self, engine: Engine, name: str) -> None:  # type: ignore[override]
        """Attach to an engine.

        Args:
            engine: an evaluator.
            name: the metric's own name.

        Raises:
            ValueError: the name is that of another score, which it would hide.
        """
        if name in GRADING_SCORES and name != self.score:
            raise ValueError(f"the metric of score {self.score!r} cannot have the name {name!r} of another score")
        super().attach(engine, name)

    @reinit__is_reduced
    def update(self, output: Sequence[Any]) -> None:
        """Add an iteration's photos."""
        probabilities, grades = output
        if len(probabilities):
            self.metric_fn(probabilities, grades)

    def completed(self, engine: Engine, name: str) -> None:
        """Put the values into the engine's metrics."""
        metrics = engine.state.metrics
        for score, estimate in self.metric_fn.aggregate().items():
            metrics |= {score + end: number for end, number in zip(("", "_low", "_high"), estimate, strict=True)}
        engine.state.confusion_matrix = self.metric_fn.confusion_matrix().tolist()  # type: ignore[attr-defined]
        metrics[name] = metrics[self.score]
