"""Average precision over the pixels of a 12-megapixel map, against scikit-learn and torchmetrics.

    python -m benchmarks.average_precision --quick

The scores are of three kinds: spread out, piled up near 0 and 1 as a trained softmax's are, and tied. torchmetrics'
exact curve sorts as scikit-learn's does; its binned one, with 100 thresholds, is another number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import binary_average_precision

from benchmarks.measure import alone
from tinylesions.metrics import PixelAveragePrecisionMetric

__all__ = ["compare", "drawn_scores"]

FULL_SIZE = (2848, 4288)
POSITIVES = 0.005
REPEATS = 3


def drawn_scores(kind: str, size: tuple[int, int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (1, 1, H, W) float32 and truth, bool, of which half a percent is positive."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(1, 1, *size, generator=generator) < POSITIVES
    logits = torch.randn(1, 1, *size, generator=generator) + 2 * truth
    if kind == "piled up":
        logits = 6 * logits - 9
    scores = torch.sigmoid(logits)
    return (scores * 50).round() / 50 if kind == "tied" else scores, truth


def _ours(scores: torch.Tensor, truth: torch.Tensor) -> float:
    metric = PixelAveragePrecisionMetric()
    metric(scores, truth)
    return metric.aggregate().item()


def _scikit_learn(scores: torch.Tensor, truth: torch.Tensor) -> float:
    return float(average_precision_score(truth.flatten().numpy(), scores.flatten().numpy()))


def _torchmetrics(scores: torch.Tensor, truth: torch.Tensor, thresholds: int | None = None) -> float:
    return binary_average_precision(scores.flatten(), truth.flatten().int(), thresholds).item()


def _torchmetrics_100(scores: torch.Tensor, truth: torch.Tensor) -> float:
    return _torchmetrics(scores, truth, 100)


CONTENDERS: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
    "scikit-learn": _scikit_learn,
    "torchmetrics, exact": _torchmetrics,
    "torchmetrics, 100 thresholds": _torchmetrics_100,
    "TinyLesions": _ours,
}


def _timed(name: str, kind: str, size: tuple[int, int]) -> tuple[float, float]:
    scores, truth = drawn_scores(kind, size)
    function = CONTENDERS[name]
    function(scores[..., :64, :64], truth[..., :64, :64])  # warm up
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        value = function(scores, truth)
        seconds.append(time.perf_counter() - start)
    return min(seconds), value


def compare(quick: bool) -> list[dict[str, Any]]:
    """Seconds (the best of three), ratio to scikit-learn, error and peak memory for each kind of scores."""
    rows: list[dict[str, Any]] = []
    for kind in ("spread out", "piled up", "tied"):
        reference: tuple[float, float] | None = None
        for name in CONTENDERS:
            if quick and name == "torchmetrics, 100 thresholds" and kind != "spread out":
                continue
            measured = alone(_timed, name, kind, FULL_SIZE)
            seconds, value = measured.value
            reference = reference or (seconds, value)
            rows.append(
                {
                    "contender": name,
                    "scores": kind,
                    "seconds": seconds,
                    "ratio": reference[0] / seconds,
                    "average precision": value,
                    "error": abs(value - reference[1]),
                    "peak memory (MiB)": measured.peak_memory,
                }
            )
    return rows
