"""Pixel average precision as an engine's metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from ignite.engine import Engine

from tinylesions.handlers.pixel_metric import PixelMetricHandler
from tinylesions.metrics import PixelAveragePrecisionMetric

__all__ = ["PixelAveragePrecision"]


class PixelAveragePrecision(PixelMetricHandler):
    """Mean pixel average precision (protocol ``exact``), and that of each lesion beside it.

    ``engine.state.metrics`` gets the mean under the metric's own name, and ``average_precision_<class>`` for every
    class; with several heads, ``average_precision_<class>_output_<head>`` and ``<name>_output_<head>``, the last
    head's mean being the metric. The mean leaves out classes that no photo holds (NaN); with none at all it is NaN.

    Args:
        class_names: the lesions, in the channel order of prediction and truth.
        heads: how many heads the prediction holds, one after another along the channels.
        output_transform: see :class:`PixelMetricHandler`.
    """

    def __init__(
        self, class_names: Sequence[str], heads: int = 1, output_transform: Callable = lambda output: output
    ) -> None:
        super().__init__(PixelAveragePrecisionMetric(), class_names, output_transform)
        self.heads = heads

    def completed(self, engine: Engine, name: str) -> None:
        """Put the values into the engine's metrics."""
        values = self.metric_fn.aggregate().view(self.heads, len(self.class_names))
        metrics = engine.state.metrics
        for head, row in enumerate(values, start=1):
            suffix = f"_output_{head}" if self.heads > 1 else ""
            metrics |= {f"average_precision_{c}{suffix}": v.item() for c, v in zip(self.class_names, row, strict=True)}
            if suffix:
                metrics[name + suffix] = torch.nanmean(row).item()
        metrics[name] = torch.nanmean(values[-1]).item()
