"""Metrics: functional cores, and MONAI metrics over them."""

from __future__ import annotations

from tinylesions.metrics.average_precision import PixelAveragePrecisionMetric, average_precision
from tinylesions.metrics.break_even import BreakEven, PixelBreakEvenMetric, break_even
from tinylesions.metrics.class_overlap import CLASS_SCORES, ClassOverlapMetric
from tinylesions.metrics.free_response import FreeResponseMetric, FreeResponseScores
from tinylesions.metrics.grading import GradingEstimate, GradingMetric
from tinylesions.metrics.grading_scores import GRADING_SCORES, grading_scores, roc_auc
from tinylesions.metrics.lesion_detection import DetectionScores, LesionDetectionMetric
from tinylesions.metrics.operating_point import OperatingPoint, OperatingPointMetric, best_dice_threshold
from tinylesions.metrics.overlap import OVERLAP_SCORES, OverlapMetric, overlap_of_images
from tinylesions.metrics.panoptic_quality import NucleiQualityMetric
from tinylesions.metrics.pixel_protocols import PROTOCOLS, Estimate, PixelProtocolsMetric
from tinylesions.metrics.score_histogram import score_bins, score_histogram

__all__ = [
    "CLASS_SCORES",
    "GRADING_SCORES",
    "OVERLAP_SCORES",
    "PROTOCOLS",
    "BreakEven",
    "ClassOverlapMetric",
    "DetectionScores",
    "Estimate",
    "FreeResponseMetric",
    "FreeResponseScores",
    "GradingEstimate",
    "GradingMetric",
    "LesionDetectionMetric",
    "NucleiQualityMetric",
    "OperatingPoint",
    "OperatingPointMetric",
    "OverlapMetric",
    "PixelAveragePrecisionMetric",
    "PixelBreakEvenMetric",
    "PixelProtocolsMetric",
    "average_precision",
    "best_dice_threshold",
    "break_even",
    "grading_scores",
    "overlap_of_images",
    "roc_auc",
    "score_bins",
    "score_histogram",
]
