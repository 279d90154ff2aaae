"""What the reused background changes: scores of the combined result less those of the multi-class one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tinylesions.handlers.class_scores import metrics_of_classes
from tinylesions.metrics.drawn_score import DrawnScore

__all__ = ["DIFFERENCE", "difference_cell", "difference_metrics"]

DIFFERENCE = ("combined", "multi_class")
"""The result whose scores are looked at, and the one whose scores are taken off."""


def difference_metrics(drawn: Mapping[str, tuple[Sequence[str], DrawnScore]], scores: Sequence[str]) -> dict[str, Any]:
    """Differences as values by name, ``difference_iou_mean`` and with ``_low`` and ``_high`` its interval.

    The interval is that of the draws' differences: both results are scored on the same drawn sources, so that what
    makes tiles easy or hard for both does not widen it.

    Args:
        drawn: columns and score by prefix and name, ``combined_iou``, see :func:`drawn_scores`.
        scores: names of the scores.

    Returns:
        Those of the scores that both results have, of images with sources.
    """
    values: dict[str, Any] = {}
    for score in scores:
        pair = [drawn[f"{result}_{score}"] for result in DIFFERENCE if f"{result}_{score}" in drawn]
        if len(pair) < 2 or not all(of_result.sources for _, of_result in pair):
            continue
        (columns, first), (_, second) = pair
        estimate = first.minus(second).estimate()
        values |= metrics_of_classes(estimate, f"difference_{score}_{{column}}", columns, intervals=True)
    return values


def difference_cell(value: float, low: float, high: float) -> str:
    """A difference and its interval in hundredths, ``+1.2 [-0.3, +2.8]``; a dash for NaN, no interval without ends."""
    if math.isnan(value):
        return "–"
    text, *ends = (f"{100 * number:+.1f}" if number else "0.0" for number in (value, low, high))
    return text if math.isnan(low) else f"{text} [{', '.join(ends)}]"
