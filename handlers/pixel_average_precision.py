"""Pixel average precision as an engine's metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from ignite.metrics.metric import reinit__is_reduced
from monai.handlers import IgniteMetricHandler

from tinylesions.metrics import PixelAveragePrecisionMetric

__all__ = ["PixelAveragePrecision"]


class PixelAveragePrecision(IgniteMetricHandler):
    """Mean pixel average precision (protocol ``exact``), and that of each lesion beside it.

    ``engine.state.metrics`` gets the mean under the metric's own name, and ``average_precision_<class>`` for every
    class; with several heads, ``average_precision_<class>_output_<head>`` and ``<name>_output_<head>``, the last
    head's mean being the metric. The mean leaves out classes that no photo holds (NaN); with none at all it is NaN.

    Args:
        class_names: the lesions, in the channel order of prediction and truth.
        heads: how many heads the prediction holds, one after another along the channels.
        output_transform: gives (probabilities, truth masks) or (probabilities, truth masks, field of view) of an
            iteration, e.g. ``from_engine(["pred", "label", "mask"])``.
    """

    def __init__(
        self, class_names: Sequence[str], heads: int = 1, output_transform: Callable = lambda output: output
    ) -> None:
        super().__init__(metric_fn=PixelAveragePrecisionMetric(), output_transform=output_transform, save_details=False)
        # the masks are a third part of the output, which ignite would refuse to take apart by photo
        self._skip_unrolling = True
        self.class_names = tuple(class_names)
        self.heads = heads

    @reinit__is_reduced
    def update(self, output: Sequence[Any]) -> None:
        """Add an iteration's photos."""
        probabilities, truth, *field_of_view = output
        self.metric_fn(probabilities, truth, **({"mask": field_of_view[0]} if field_of_view else {}))

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
