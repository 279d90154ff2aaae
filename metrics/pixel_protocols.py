"""Every protocol of pixel precision and recall from one pass over the photos, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import convert_to_tensor

from tinylesions.metrics.average_precision import average_precision
from tinylesions.metrics.bootstrap import percentile_interval, resample, resampled_values
from tinylesions.metrics.lesion_windows import lesion_window_pixels
from tinylesions.metrics.score_histogram import merge_bins, photo_histograms
from tinylesions.metrics.threshold_curves import counts_above, counts_at_least, curve_area

__all__ = ["PROTOCOLS", "Estimate", "PixelProtocolsMetric"]

PROTOCOLS = ("exact", "idrid33", "m2mrf11", "lesion_patches", "per_image")


class Estimate(NamedTuple):
    """Scores with their intervals, (C + 1,) float64 each: the lesions, then the mean of those that have a value."""

    value: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor


class PixelProtocolsMetric(CumulativeIterationMetric):
    """Area under the pixels' precision-recall curve of each lesion, by every protocol in use.

    ``exact``: average precision over all pixels of all photos, inside the field of view. ``idrid33``: thresholds k/32,
    score ≥ threshold, trapezoid. ``m2mrf11``: thresholds 0, 0.1 … 1, score > threshold, trapezoid. ``lesion_patches``:
    ``exact`` over the 64×64 windows that hold any lesion. ``per_image``: the mean of each photo's ``exact``, over the
    photos that hold the lesion. Lesion pixels outside the field of view have score 0, the others there do not count.
    A lesion that no photo holds has no value (NaN).

    The intervals hold the middle 95 % of what the score is on photos drawn with replacement from those given. The
    draws are seeded and do not depend on the photos' order. They are made from each photo's histograms of 4096 bins,
    64 KiB a lesion and photo; what the merged bins shift the score by is taken off. With a single photo there is
    no interval (NaN).

    Call it with `y_pred` (N, C, H, W) probabilities or a list of (C, H, W), `y` of the same shape, and optionally
    `mask` (N, 1, H, W).

    Args:
        replicates: number of draws.
        seed: of the draws.
        protocols: names of `PROTOCOLS` to score by, all by default.

    Raises:
        ValueError: there is no such protocol, or none is named.

    Example:
        >>> metric = PixelProtocolsMetric()
        >>> _ = metric(torch.tensor([[[[0.9, 0.8, 0.1]]]]), torch.tensor([[[[1, 0, 1]]]]))
        >>> {name: round(float(estimate.value[0]), 4) for name, estimate in metric.aggregate().items()}
        {'exact': 0.8333, 'idrid33': 0.7917, 'm2mrf11': 0.7917, 'lesion_patches': 0.8333, 'per_image': 0.8333}
    """

    def __init__(self, replicates: int = 1000, seed: int = 0, protocols: Sequence[str] = PROTOCOLS) -> None:
        super().__init__()
        unknown = set(protocols) - set(PROTOCOLS)
        if unknown or not protocols:
            wrong = ", ".join(sorted(unknown)) or "none"
            raise ValueError(f"protocols are some of {', '.join(PROTOCOLS)}, not {wrong}")
        self.protocols = tuple(protocols)
        self.replicates = replicates
        self.seed = seed

    def extend(self, *data: torch.Tensor) -> None:
        """Add the photos: the first two figures of each to the pooled histograms, the others one by one."""
        super().extend(*data)
        for pooled in (self._buffers or [])[:2]:
            pooled[:] = [torch.stack(pooled).sum(0)]

    def _compute_list(self, y_pred: Any, y: Any = None, mask: Any = None, **kwargs: Any) -> list[Any]:
        masks = [None] * len(y_pred) if mask is None else mask
        photos = zip(y_pred, y, masks, strict=True)
        # an engine moves photo and label to its device, not the mask
        parts = (convert_to_tensor(photo, track_meta=False, device=photo[0].device) for photo in photos)
        return [torch.stack(figure) for figure in zip(*(_photo_figures(*part) for part in parts), strict=True)]

    def _compute_tensor(
        self, y_pred: torch.Tensor, y: torch.Tensor | None = None, mask: torch.Tensor | None = None, **kwargs: Any
    ) -> list[Any]:
        return self._compute_list(y_pred, y, mask)

    def aggregate(self) -> dict[str, Estimate]:
        """Score and interval by each of the protocols."""
        buffers = self.get_buffer()
        if buffers is None:
            raise ValueError("no photo was given yet, there is no average precision")
        # some accelerators have no float64
        pooled, pooled_windows, coarse, coarse_windows, above, each = (buffer.cpu() for buffer in buffers)
        # processes gather the photos in another order, and a draw shall mean the same photos
        order = torch.from_numpy(np.lexsort(torch.cat([above.flatten(1), each.nan_to_num(-1)], 1).T.numpy()))
        coarse, coarse_windows, above, each = (figures[order] for figures in (coarse, coarse_windows, above, each))
        sums = {
            "exact": coarse,
            "idrid33": counts_at_least(coarse),
            "m2mrf11": torch.cat([coarse.sum(-1, keepdim=True), above], -1),
            "lesion_patches": coarse_windows,
            "per_image": torch.stack([each.nan_to_num(), ~each.isnan()], -1),
        }
        merged = {name: _FROM_SUMS[name](sums[name].sum(0)) for name in self.protocols}
        # the pooled histograms have finer bins than the photos' own
        finer = {"exact": pooled, "lesion_patches": pooled_windows}
        values = {name: average_precision(finer[name].sum(0)) if name in finer else merged[name] for name in merged}
        draws = resample(len(each), self.replicates, self.seed)
        estimates = {}
        for name in self.protocols:
            drawn = resampled_values(sums[name], _FROM_SUMS[name], draws) + (values[name] - merged[name])
            estimates[name] = _estimate(values[name], drawn.clamp(0, 1))
        return estimates


def _photo_figures(scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    """Histograms of all pixels and of the windows', both again with merged bins, counts, own score: (C, ...) each."""
    if len(scores) != len(truth):
        raise ValueError(f"{len(scores)} predicted channels, but {len(truth)} of the truth")
    every = photo_histograms(scores, truth, mask)
    within = lesion_window_pixels(truth, mask).flatten().nonzero().squeeze(1)
    windows = photo_histograms(
        scores.flatten(1)[:, within],
        truth.flatten(1)[:, within],
        None if mask is None else mask.flatten(1)[:, within],
    )
    inside = None if mask is None else mask[0]
    above = torch.stack([counts_above(s, t, inside) for s, t in zip(scores, truth, strict=True)])
    return every, windows, merge_bins(every), merge_bins(windows), above, average_precision(every.cpu())


def _area_from_counts(counts: torch.Tensor) -> torch.Tensor:
    return curve_area(counts, counts[..., 1, 0])


def _area_below_all(counts: torch.Tensor) -> torch.Tensor:
    return curve_area(counts[..., 1:], counts[..., 1, 0])


def _mean(sums: torch.Tensor) -> torch.Tensor:
    total, count = sums.double().unbind(-1)
    return total / count


_FROM_SUMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "exact": average_precision,
    "idrid33": _area_from_counts,
    "m2mrf11": _area_below_all,
    "lesion_patches": average_precision,
    "per_image": _mean,
}


def _estimate(value: torch.Tensor, draws: torch.Tensor) -> Estimate:
    """Add the mean over the lesions, and take the middle 95 % of the draws (draws, C)."""
    value = torch.cat([value, value.nanmean(0, keepdim=True)])
    draws = torch.cat([draws, draws.nanmean(1, keepdim=True)], dim=1)
    return Estimate(value, *percentile_interval(draws))
