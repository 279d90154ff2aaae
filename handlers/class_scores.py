"""Dice, IoU, precision and recall of each class of pixels as an engine's metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from ignite.metrics.metric import reinit__is_reduced

from tinylesions.datasets import BINARY_CLASSES
from tinylesions.handlers.pixel_metric import PixelMetricHandler
from tinylesions.metrics import CLASS_SCORES, ClassOverlapMetric, Estimate
from tinylesions.metrics.drawn_score import DrawnScore

__all__ = ["ClassScores", "drawn_scores", "metrics_of_classes"]


def drawn_scores(engine: Engine) -> dict[str, tuple[Sequence[str], DrawnScore]]:
    """What the handlers of classes leave in an engine's state: columns and score by prefix and name, ``combined_iou``.

    The ends of two intervals do not tell that of a difference, the draws do.
    """
    state: Any = engine.state
    if not hasattr(state, "drawn_scores"):
        state.drawn_scores = {}
    return state.drawn_scores


def metrics_of_classes(estimate: Estimate, pattern: str, columns: Sequence[str], intervals: bool) -> dict[str, float]:
    """An engine's metrics of an estimate: `pattern` with ``{column}`` in it, and ``_low`` and ``_high`` after it."""
    ends = ("", "_low", "_high") if intervals else ("",)
    return {
        pattern.format(column=column) + end: number
        for end, numbers in zip(ends, estimate, strict=False)
        for column, number in zip(columns, numbers.tolist(), strict=True)
    }


class ClassScores(PixelMetricHandler):
    """Dice, IoU, precision and recall of each class, pooled over all pixels of all images.

    ``engine.state.metrics`` gets the mean IoU under the metric's own name and, for every class, ``mean`` and
    ``foreground``, each name of `CLASS_SCORES` as ``iou_<class>``, the same with ``_low`` and ``_high`` for the ends
    of the interval. ``foreground`` is any class against the background, and is not in the mean. ``images`` and, where
    they are given, ``sources`` are how many there were. What has no value is NaN, see :class:`ClassOverlapMetric`. The
    scores' draws go to :func:`drawn_scores`.

    Args:
        class_names: the classes, the background first. With exactly ``["background", "foreground"]`` every class
            above 0, of the truth as well, is the foreground.
        output_transform: gives (class map, true class map) or (class map, true class map, source) of an iteration,
            each a list of (1, H, W) or of names, e.g. ``from_engine(["multi_class", "label", "tile_source"])``. An
            engine's output holds no key of the data's own: ``CopyItemsd`` among the postprocessing puts it there.
        prefix: stands before the name of each value but the metric's own.
        intervals: whether the ends of the 95 % intervals are wanted; a training does without.

    Raises:
        ValueError: a class has the name of a column, ``mean`` or ``foreground``; on attaching, the metric's own name
            is that of another of its values.
    """

    metric_fn: ClassOverlapMetric

    def __init__(
        self,
        class_names: Sequence[str],
        output_transform: Callable = lambda output: output,
        prefix: str = "",
        intervals: bool = True,
    ) -> None:
        self.binary = tuple(class_names) == BINARY_CLASSES
        self.columns = [*class_names, *([] if self.binary else ["foreground"]), "mean"]
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"each class has a name of its own, not 'mean' nor 'foreground': {list(class_names)}")
        metric = ClassOverlapMetric(len(class_names), not self.binary, replicates=1000 if intervals else 0)
        super().__init__(metric, class_names, output_transform, prefix)
        self.intervals = intervals

    def attach(self, engine: Engine, name: str) -> None:  # type: ignore[override]
        """Attach to an engine under the metric's own name."""
        others = {f"{self.prefix}{score}_{column}" for score in CLASS_SCORES for column in self.columns}
        if name in others - {f"{self.prefix}iou_mean"}:
            raise ValueError(f"{name!r} is the name of another score: call the mean IoU otherwise, e.g. 'mean_iou'")
        super().attach(engine, name)

    @reinit__is_reduced
    def update(self, output: Sequence[Any]) -> None:
        """Add an iteration's images; there may be none."""
        predicted, truth, *sources = output
        if self.binary:
            predicted, truth = ([_foreground(classes) for classes in maps] for maps in (predicted, truth))
        if len(predicted):
            self.metric_fn(predicted, truth, sources=sources[0] if sources else None)

    def completed(self, engine: Engine, name: str) -> None:
        """Put the values into the engine's metrics."""
        metrics = engine.state.metrics
        for score, drawn in self.metric_fn.drawn_scores().items():
            pattern = f"{self.prefix}{score}_{{column}}"
            metrics |= metrics_of_classes(drawn.estimate(), pattern, self.columns, self.intervals)
            drawn_scores(engine)[f"{self.prefix}{score}"] = self.columns, drawn
        metrics[f"{self.prefix}images"] = len(self.metric_fn.image_counts())
        sources = self.metric_fn.source_names()
        if sources:
            metrics[f"{self.prefix}sources"] = len(sources)
        metrics[name] = metrics[f"{self.prefix}iou_mean"]


def _foreground(classes: torch.Tensor) -> torch.Tensor:
    return (classes > 0).to(torch.uint8)
