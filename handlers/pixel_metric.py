"""What the handlers of pixel metrics share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ignite.metrics.metric import reinit__is_reduced
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric

__all__ = ["PixelMetricHandler"]


class PixelMetricHandler(IgniteMetricHandler):
    """An engine's metric of probabilities, truth masks and, where there is one, the field of view.

    Subclasses say in `completed` what they put into ``engine.state.metrics``.

    Args:
        metric_fn: takes `y_pred`, `y` and optionally `mask`.
        class_names: the lesions, in the channel order of prediction and truth.
        output_transform: gives (probabilities, truth masks) or (probabilities, truth masks, field of view) of an
            iteration, e.g. ``from_engine(["pred", "label", "mask"])``.
        prefix: stands before the name of each value but the metric's own, so that an engine can score two photo sizes.
    """

    def __init__(
        self,
        metric_fn: CumulativeIterationMetric,
        class_names: Sequence[str],
        output_transform: Callable,
        prefix: str = "",
    ) -> None:
        super().__init__(metric_fn=metric_fn, output_transform=output_transform, save_details=False)
        # the masks are a third part of the output, which ignite would refuse to take apart by photo
        self._skip_unrolling = True
        self.class_names = tuple(class_names)
        self.prefix = prefix

    @reinit__is_reduced
    def update(self, output: Sequence[Any]) -> None:
        """Add an iteration's photos; there may be none, see :func:`true_labels`."""
        probabilities, truth, *field_of_view = output
        if len(probabilities):
            self.metric_fn(probabilities, truth, **({"mask": field_of_view[0]} if field_of_view else {}))
