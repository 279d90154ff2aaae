"""Lesion-level free-response scores as an engine's metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from ignite.engine import Engine

from tinylesions.handlers.pixel_metric import PixelMetricHandler
from tinylesions.metrics.free_response import FALSE_POSITIVE_RATES, FreeResponseMetric

__all__ = ["FreeResponse"]


class FreeResponse(PixelMetricHandler):
    """Mean free-response score of the lesions, and the scores of each lesion beside it.

    ``engine.state.metrics`` gets the mean under the metric's own name and, for every class,
    ``free_response_score_<class>``, ``sensitivity_at_<rate>_<class>`` with the rates 0.125, 0.25, 0.5, 1, 2, 4, 8 false
    positives a photo, and at probability 0.5 the numbers ``true_positive_lesions_<class>``,
    ``false_positive_lesions_<class>`` and ``false_negative_lesions_<class>``. The mean leaves out classes that no photo
    holds (NaN); with none at all it is NaN.

    Args:
        class_names: the lesions, in the channel order of prediction and truth.
        output_transform: see :class:`PixelMetricHandler`.
    """

    def __init__(self, class_names: Sequence[str], output_transform: Callable = lambda output: output) -> None:
        super().__init__(FreeResponseMetric(), class_names, output_transform)

    def completed(self, engine: Engine, name: str) -> None:
        """Put the values into the engine's metrics."""
        scores = self.metric_fn.aggregate()
        values = {
            "free_response_score": scores.score,
            **{
                f"sensitivity_at_{rate:g}": column
                for rate, column in zip(FALSE_POSITIVE_RATES, scores.sensitivity.unbind(-1), strict=True)
            },
            "true_positive_lesions": scores.true_positives,
            "false_positive_lesions": scores.false_positives,
            "false_negative_lesions": scores.false_negatives,
        }
        engine.state.metrics |= {
            f"{title}_{lesion}": value.item()
            for title, column in values.items()
            for lesion, value in zip(self.class_names, column, strict=True)
        }
        engine.state.metrics[name] = torch.nanmean(scores.score).item()
