from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tinylesions.datasets.phantoms import draw_fundus

FILE = Path(__file__).parents[3] / "benchmarks" / "top_hat_baseline.py"


@pytest.mark.slow
def test_a_detector_without_learning_does_not_solve_the_phantoms() -> None:
    spec = importlib.util.spec_from_file_location("top_hat_baseline", FILE)
    baseline = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(baseline)
    phantoms = [draw_fundus(seed, (712, 1072), (3, 2, 4)[seed % 3]) for seed in range(9)]
    result = baseline.mean_average_precision(phantoms)
    assert set(result) == {"microaneurysm", "haemorrhage", "hard_exudate", "soft_exudate", "mean"}
    assert 0.02 < result["mean"] <= 0.30
