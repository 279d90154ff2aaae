"""The threshold of each lesion and its scores, as a table that an evaluation prints and saves."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ignite.distributed as idist
import pandas as pd
import torch
from ignite.engine import Engine

from tinylesions.datasets.atomic import atomic_path
from tinylesions.handlers.pixel_metric import PixelMetricHandler
from tinylesions.metrics import LesionDetectionMetric, OperatingPointMetric

__all__ = ["OperatingPoints"]

_CHOSEN = """\
Operating points: the threshold of each lesion with the highest Dice of all photos' pixels together, chosen on these
photos"""
_GIVEN = """\
Scores at the given thresholds: Dice, precision and recall of all photos' pixels together; lesions and false alarms
are 8-connected regions, found where a predicted region touches a lesion and a fifth of it lies on lesions"""


class OperatingPoints(PixelMetricHandler):
    """Choose the threshold of each lesion by pooled Dice, or score at given thresholds; for evaluations.

    Without `thresholds` the table has one row a lesion with the columns ``threshold``, ``dice``, ``precision``,
    ``recall`` and ``dice_at_half``, see :func:`~tinylesions.metrics.best_dice_threshold`. With them the thresholds
    are those given, and ``lesions``, ``found`` and ``false_alarms_per_photo`` follow, see
    :class:`~tinylesions.metrics.LesionDetectionMetric`: these need the thresholds while the photos pass, so that
    choosing and counting are two evaluations.

    A lesion for which no threshold finds a true pixel, as where no photo holds it, gets the threshold 0.5 and a
    warning; its scores are NaN, or 0 where it is there.

    ``engine.state.metrics`` gets ``operating_<column>_<class>`` for every class, and under the metric's own name the
    mean of ``dice`` over the classes that have it. After an evaluation `thresholds` holds those of the table.

    Args:
        class_names: the lesions, in the channel order of prediction and truth.
        output_transform: see :class:`PixelMetricHandler`.
        path: CSV to write.
        thresholds: lesion → threshold, above 0 and below 1.

    Raises:
        ValueError: a lesion has no threshold, or one out of range.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        output_transform: Callable,
        path: str | Path,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        self.given = thresholds is not None
        self.thresholds = dict(thresholds or {})
        missing = [name for name in class_names if name not in self.thresholds]
        if self.given and missing:
            raise ValueError(f"there is no threshold for {', '.join(missing)}")
        metric = (
            LesionDetectionMetric([self.thresholds[name] for name in class_names])
            if self.given
            else OperatingPointMetric()
        )
        super().__init__(metric, class_names, output_transform)
        self.path = Path(path)

    def completed(self, engine: Engine, name: str) -> None:
        """Put the values into the engine's metrics, print and save them."""
        scores = self.metric_fn.aggregate()
        columns = {title: column.numpy() for title, column in scores._asdict().items()}
        table = pd.DataFrame(columns, index=pd.Index(self.class_names, name="lesion"))
        without = table.index[table["threshold"].isna()]
        if len(without):
            warnings.warn(
                f"no threshold finds a true pixel of {', '.join(without)} in these photos: 0.5 is taken", stacklevel=2
            )
            table["threshold"] = table["threshold"].fillna(0.5)
        self.thresholds = table["threshold"].to_dict()
        engine.state.metrics |= {
            f"operating_{title}_{lesion}": value
            for title, column in table.to_dict().items()
            for lesion, value in column.items()
        }
        engine.state.metrics[name] = torch.nanmean(scores.dice).item()
        if idist.get_rank() == 0:
            print(f"\n{_GIVEN if self.given else _CHOSEN}")
            print(table.rename_axis(None).to_string(float_format="{:.3f}".format, na_rep="–"))
            with atomic_path(self.path) as temporary:
                table.to_csv(temporary)
            print(f"saved as {self.path}")
