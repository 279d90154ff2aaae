"""Metrics: functional cores, and MONAI metrics over them."""

from __future__ import annotations

from tinylesions.metrics.average_precision import PixelAveragePrecisionMetric, average_precision
from tinylesions.metrics.break_even import BreakEven, PixelBreakEvenMetric, break_even
from tinylesions.metrics.free_response import FreeResponseMetric, FreeResponseScores
from tinylesions.metrics.pixel_protocols import PROTOCOLS, Estimate, PixelProtocolsMetric
from tinylesions.metrics.score_histogram import score_bins, score_histogram

__all__ = [
    "PROTOCOLS",
    "BreakEven",
    "Estimate",
    "FreeResponseMetric",
    "FreeResponseScores",
    "PixelAveragePrecisionMetric",
    "PixelBreakEvenMetric",
    "PixelProtocolsMetric",
    "average_precision",
    "break_even",
    "score_bins",
    "score_histogram",
]
