"""DRAC2022's Dice and IoU as an engine's metrics, and the table of every image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pandas as pd
import torch
from ignite.engine import Engine
from ignite.metrics.metric import reinit__is_reduced

from tinylesions.datasets.atomic import atomic_path
from tinylesions.datasets.photos import natural_key
from tinylesions.handlers.pixel_metric import PixelMetricHandler
from tinylesions.handlers.score_table import ROWS
from tinylesions.metrics import OverlapMetric, overlap_of_images

__all__ = ["Overlap"]


class Overlap(PixelMetricHandler):
    """Dice and IoU of each lesion as the mean over images, and the false alarms in images without the lesion.

    ``engine.state.metrics`` gets the mean Dice under the metric's own name and, for every class and ``mean``, each
    name of `OVERLAP_SCORES` as ``dice_<class>``, the same with ``_low`` and ``_high`` for the ends of the interval.
    ``empty_images_<class>`` is the number of images without the lesion. What has no value is NaN, see
    :class:`OverlapMetric`.

    Args:
        class_names: the lesions, in the channel order of prediction and truth.
        output_transform: gives (probabilities, truth masks) or (probabilities, truth masks, ids) of an iteration, e.g.
            ``from_engine(["pred", "label", "image_id"])``. An engine's output holds no key of the data's own:
            ``CopyItemsd("id", names="image_id")`` among the postprocessing puts the id there.
        prefix: see :class:`PixelMetricHandler`.
        image_scores: CSV to write when the engine completes, a row an image and lesion: ``id``, ``lesion``,
            ``truth_px``, ``predicted_px``, ``intersection_px``, and ``dice`` and ``iou``, which are empty where the
            truth is. A false alarm in an image without the lesion is seen here: ``truth_px`` 0, ``predicted_px`` not.

    Raises:
        ValueError: `image_scores` without ids; on attaching, a name that a row of the score table has.
    """

    metric_fn: OverlapMetric

    def __init__(
        self,
        class_names: Sequence[str],
        output_transform: Callable = lambda output: output,
        prefix: str = "",
        image_scores: str | Path | None = None,
    ) -> None:
        super().__init__(OverlapMetric(), class_names, output_transform, prefix)
        self.image_scores = None if image_scores is None else Path(image_scores)

    def attach(self, engine: Engine, name: str) -> None:  # type: ignore[override]
        """Attach to an engine under the metric's own name."""
        if name in ROWS.values():
            raise ValueError(f"{name!r} names a row of the score table: call the mean Dice otherwise, e.g. 'mean_dice'")
        super().attach(engine, name)

    @reinit__is_reduced
    def update(self, output: Sequence[Any]) -> None:
        """Add an iteration's images; there may be none, see :func:`true_labels`."""
        probabilities, truth, *ids = output
        if self.image_scores is not None and not ids:
            raise ValueError("image_scores names the images: let output_transform give their ids as a third part")
        if len(probabilities):
            self.metric_fn(probabilities, truth, ids=ids[0] if ids else None)

    def completed(self, engine: Engine, name: str) -> None:
        """Put the values into the engine's metrics and write the table."""
        metrics = engine.state.metrics
        for score, estimate in self.metric_fn.aggregate().items():
            for class_name, *numbers in zip((*self.class_names, "mean"), *estimate, strict=True):
                ends = zip(("", "_low", "_high"), numbers, strict=True)
                metrics |= {f"{self.prefix}{score}_{class_name}{end}": number.item() for end, number in ends}
        for class_name, count in zip(self.class_names, self.metric_fn.empty_images().tolist(), strict=True):
            metrics[f"{self.prefix}empty_images_{class_name}"] = count
        metrics[name] = metrics[f"{self.prefix}dice_mean"]
        if self.image_scores is not None:
            table = _image_table(*self.metric_fn.image_counts(), self.class_names)  # all processes gather
            if idist.get_rank() == 0:
                with atomic_path(self.image_scores) as temporary:
                    table.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def _image_table(ids: Sequence[str], counts: torch.Tensor, class_names: Sequence[str]) -> pd.DataFrame:
    """One row an image and lesion, in natural order of the ids."""
    order = sorted(range(len(ids)), key=lambda image: natural_key(ids[image]))
    counts = counts[order]
    scores = overlap_of_images(counts)
    intersection, predicted, truth, _ = counts.flatten(0, 1).unbind(-1)
    return pd.DataFrame(
        {
            "id": [ids[image] for image in order for _ in class_names],
            "lesion": [*class_names] * len(order),
            "truth_px": truth.numpy(),
            "predicted_px": predicted.numpy(),
            "intersection_px": intersection.numpy(),
            "dice": scores["dice"].flatten().numpy(),
            "iou": scores["iou"].flatten().numpy(),
        }
    )
