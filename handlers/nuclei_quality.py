"""Panoptic quality of nuclei as an engine's metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ignite.engine import Engine
from ignite.metrics.metric import reinit__is_reduced

from tinylesions.datasets import BINARY_CLASSES
from tinylesions.handlers.class_scores import drawn_scores, metrics_of_classes
from tinylesions.handlers.pixel_metric import PixelMetricHandler
from tinylesions.metrics import NucleiQualityMetric

__all__ = ["NucleiQuality"]


class NucleiQuality(PixelMetricHandler):
    """Panoptic quality of each class of nuclei, pooled over all images, their mean mPQ+, and the binary bPQ.

    ``engine.state.metrics`` gets ``pq_<class>`` for each class but the background, ``pq_mean`` for mPQ+ and
    ``pq_foreground`` for bPQ, the same with ``_low`` and ``_high`` for the ends of the interval, and mPQ+ under the
    metric's own name. What has no value is NaN, see :class:`NucleiQualityMetric`. The score's draws go to
    :func:`drawn_scores`.

    Args:
        class_names: the classes, the background first. With exactly ``["background", "foreground"]`` the nuclei have
            no classes: there is bPQ alone, under the metric's own name too.
        output_transform: gives (nuclei, true nuclei) or (nuclei, true nuclei, source) of an iteration, each a list of
            (2, H, W) instance ids and classes or of names, e.g.
            ``from_engine(["combined_nuclei", "true_nuclei", "tile_source"])``. An engine's output holds no key of the
            data's own: ``CopyItemsd`` among the postprocessing puts it there.
        prefix: stands before the name of each value but the metric's own.
    """

    metric_fn: NucleiQualityMetric

    def __init__(
        self, class_names: Sequence[str], output_transform: Callable = lambda output: output, prefix: str = ""
    ) -> None:
        binary = tuple(class_names) == BINARY_CLASSES
        self.nuclei = [] if binary else list(class_names[1:])
        self.own = "pq_foreground" if binary else "pq_mean"
        super().__init__(NucleiQualityMetric(len(self.nuclei)), class_names, output_transform, prefix)

    @reinit__is_reduced
    def update(self, output: Sequence[Any]) -> None:
        """Add an iteration's images; there may be none."""
        predicted, truth, *sources = output
        if len(predicted):
            self.metric_fn(predicted, truth, sources=sources[0] if sources else None)

    def completed(self, engine: Engine, name: str) -> None:
        """Put the values into the engine's metrics."""
        metrics = engine.state.metrics
        columns = [*self.nuclei, "foreground", "mean"]
        for score, drawn in self.metric_fn.drawn_scores().items():
            values = metrics_of_classes(drawn.estimate(), f"{self.prefix}{score}_{{column}}", columns, intervals=True)
            drawn_scores(engine)[f"{self.prefix}{score}"] = columns, drawn
            if not self.nuclei:  # a mean over no classes
                values = {key: value for key, value in values.items() if not key.startswith(f"{self.prefix}pq_mean")}
            metrics |= values
        metrics[name] = metrics[f"{self.prefix}{self.own}"]
