"""Metrics: functional cores, and MONAI metrics over them."""

from __future__ import annotations

from tinylesions.metrics.average_precision import (
    PixelAveragePrecisionMetric,
    average_precision,
    score_bins,
    score_histogram,
)

__all__ = ["PixelAveragePrecisionMetric", "average_precision", "score_bins", "score_histogram"]
