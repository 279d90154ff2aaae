"""Precision and recall at the break-even point as an engine's metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from ignite.engine import Engine

from tinylesions.handlers.pixel_metric import PixelMetricHandler
from tinylesions.metrics import PixelBreakEvenMetric

__all__ = ["PixelBreakEven"]


class PixelBreakEven(PixelMetricHandler):
    """Precision and recall of each lesion's pixels at the threshold where they are nearest to each other.

    ``engine.state.metrics`` gets ``precision_<class>``, ``recall_<class>`` and ``threshold_<class>`` for every class,
    and under the metric's own name the mean over classes of (precision + recall) / 2. The mean leaves out classes that
    no photo holds (NaN); with none at all it is NaN.

    Args:
        class_names: the lesions, in the channel order of prediction and truth.
        output_transform: see :class:`PixelMetricHandler`.
        prefix: see :class:`PixelMetricHandler`.
    """

    def __init__(
        self, class_names: Sequence[str], output_transform: Callable = lambda output: output, prefix: str = ""
    ) -> None:
        super().__init__(PixelBreakEvenMetric(), class_names, output_transform, prefix)

    def completed(self, engine: Engine, name: str) -> None:
        """Put the values into the engine's metrics."""
        point = self.metric_fn.aggregate()
        engine.state.metrics |= {
            f"{self.prefix}{title}_{class_name}": value.item()
            for title, column in point._asdict().items()
            for class_name, value in zip(self.class_names, column, strict=True)
        }
        engine.state.metrics[name] = torch.nanmean((point.precision + point.recall) / 2).item()
