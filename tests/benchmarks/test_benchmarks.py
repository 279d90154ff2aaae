from __future__ import annotations

import json

import pytest
import torch

from benchmarks import __main__ as runner
from benchmarks import average_precision, photo_inference, photo_sizes
from benchmarks.measure import alone
from benchmarks.photos import fundus_photo, piece_of_same_share
from tinylesions.inferers import ForegroundSlidingWindowInferer


def _fill(megabytes: int) -> int:
    return int(torch.ones(megabytes * 2**20, dtype=torch.uint8).sum())


@pytest.mark.slow
def test_a_process_of_its_own_has_its_own_peak_memory():
    small, large = alone(_fill, 1), alone(_fill, 300)
    assert (small.value, large.value) == (2**20, 300 * 2**20)
    assert large.peak_memory - small.peak_memory > 250


def test_the_piece_has_the_photos_share_of_windows():
    inferer = ForegroundSlidingWindowInferer(16, overlap=0.5)
    photo, mask = fundus_photo((208, 304))
    piece, piece_mask = piece_of_same_share(photo, mask, (6, 9), inferer)
    assert piece.shape == (1, 3, 56, 80)
    plan, piece_plan = inferer.plan(photo, mask), inferer.plan(piece, piece_mask)
    assert piece_plan.run.shape == (1, 6, 9)
    assert piece_plan.run.float().mean().item() == pytest.approx(plan.run.float().mean().item(), abs=1 / 54)


def test_contenders_give_the_same_map():
    photo, mask = fundus_photo((192, 256))
    maps = {
        name: photo_inference.infer(photo, mask, widths=(4, 4, 8, 8, 8), **options)["probabilities"]
        for name, options in photo_inference.CONTENDERS.items()
        if options.get("precision") != "auto"
    }
    reference = next(iter(maps.values()))
    assert len(maps) == 4
    for found in maps.values():
        torch.testing.assert_close(found.where(mask[:, None], 0), reference.where(mask[:, None], 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["spread out", "piled up", "tied"])
def test_contenders_give_the_same_average_precision(kind):
    scores, truth = average_precision.drawn_scores(kind, (300, 400))
    values = {name: function(scores, truth) for name, function in average_precision.CONTENDERS.items()}
    binned = values.pop("torchmetrics, 100 thresholds")
    assert max(values.values()) - min(values.values()) < 1e-4
    assert 0 < binned < 1


def test_sizes_are_what_they_say():
    for name, (height, width) in photo_sizes.SIZES.items():
        assert height * width / 1e6 == pytest.approx(float(name.split()[0]), rel=0.05)


def test_the_runner_prints_and_saves(tmp_path, monkeypatch, capsys):
    rows = [{"contender": "one", "seconds": 1.23456}, {"contender": "two", "seconds": 2.0}]
    monkeypatch.setattr(runner, "BENCHMARKS", {"fake": lambda quick: rows if quick else []})
    out = tmp_path / "folder" / "figures.json"
    runner.main(["--quick", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "1.235" in printed
    assert "two" in printed
    saved = json.loads(out.read_text(encoding="utf-8"))
    assert saved["fake"] == rows
    assert saved["machine"]["torch"] == torch.__version__
