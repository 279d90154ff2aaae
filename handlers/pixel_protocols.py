"""Every protocol of pixel precision and recall as an engine's metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ignite.engine import Engine

from tinylesions.handlers.pixel_metric import PixelMetricHandler
from tinylesions.metrics import PROTOCOLS, PixelProtocolsMetric

__all__ = ["PixelProtocols"]


class PixelProtocols(PixelMetricHandler):
    """Scores of each lesion and their mean by every protocol, with 95 % intervals; for evaluations.

    ``engine.state.metrics`` gets ``average_precision_<protocol>_<class>``, the same with ``_low`` and ``_high`` for
    the ends of the interval, and all three for the class ``mean``; the mean of the first protocol is the metric itself.
    What has no value is NaN, see :class:`PixelProtocolsMetric`.

    Args:
        class_names: the lesions, in the channel order of prediction and truth.
        output_transform: see :class:`PixelMetricHandler`.
        prefix: see :class:`PixelMetricHandler`.
        protocols: names of `PROTOCOLS` to score by, all by default.

    Raises:
        ValueError: there is no such protocol.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        output_transform: Callable = lambda output: output,
        prefix: str = "",
        protocols: Sequence[str] = PROTOCOLS,
    ) -> None:
        super().__init__(PixelProtocolsMetric(protocols=protocols), class_names, output_transform, prefix)

    def completed(self, engine: Engine, name: str) -> None:
        """Put the values into the engine's metrics."""
        metrics = engine.state.metrics
        estimates = self.metric_fn.aggregate()
        for protocol, estimate in estimates.items():
            for class_name, *numbers in zip((*self.class_names, "mean"), *estimate, strict=True):
                title = f"{self.prefix}average_precision_{protocol}_{class_name}"
                ends = zip(("", "_low", "_high"), numbers, strict=True)
                metrics |= {title + end: number.item() for end, number in ends}
        metrics[name] = next(iter(estimates.values())).value[-1].item()
