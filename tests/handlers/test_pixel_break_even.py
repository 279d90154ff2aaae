"""The handler's values in a real evaluation, against every score of the pooled pixels tried as a threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from monai.transforms import CopyItemsd
from torch import nn

from tinylesions.handlers import PixelBreakEven

NAMES = ["microaneurysm", "haemorrhage"]


def items(absent: tuple[int, ...] = ()) -> list[dict[str, torch.Tensor]]:
    """Photos that are their own predictions: a network that returns its input is evaluated."""
    generator = torch.Generator().manual_seed(0)
    result = []
    for _ in range(3):
        label = (torch.rand(2, 9, 11, generator=generator) < 0.3).float()
        label[list(absent)] = 0
        # multiples of 1/1024 begin a bin each
        scores = ((torch.rand(2, 9, 11, generator=generator) + 0.4 * label) * 700).round() / 1024
        mask = (torch.rand(1, 9, 11, generator=generator) < 0.8).to(torch.uint8)
        result.append({"image": scores, "label": label, "field_of_view": mask})
    return result


def evaluate(data: list[dict], keys: list[str], prefix: str = "") -> dict[str, float]:
    handler = PixelBreakEven(NAMES, output_transform=from_engine(keys), prefix=prefix)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=2),
        network=nn.Identity(),
        postprocessing=CopyItemsd("field_of_view", names="mask"),
        key_val_metric={"break_even": handler},
    )
    evaluator.run()
    evaluator.run()  # a second run starts from zero
    return evaluator.state.metrics


def expected_of(data: list[dict], lesion: int, masked: bool) -> tuple[float, float, float]:
    truth = np.concatenate([item["label"][lesion].numpy().ravel() > 0 for item in data])
    scores = np.concatenate([item["image"][lesion].numpy().ravel() for item in data])
    inside = np.concatenate([item["field_of_view"][0].numpy().ravel() > 0 for item in data]) | (not masked)
    truth, scores = truth[inside | truth], np.where(inside, scores, 0)[inside | truth]
    points = []
    for threshold in np.unique(scores):
        hits = (truth & (scores >= threshold)).sum()
        points.append((hits / (scores >= threshold).sum(), hits / truth.sum(), threshold))
    return min((p for p in points if p[0] > 0), key=lambda p: (abs(p[0] - p[1]), -p[0] - p[1], -p[2]))


@pytest.mark.parametrize("prefix", ["", "reduced_"])
@pytest.mark.parametrize("masked", [False, True])
def test_values_and_names(masked, prefix):
    data = items()
    metrics = evaluate(data, ["pred", "label", "mask"][: 3 if masked else 2], prefix)
    titles = ("precision", "recall", "threshold")
    assert metrics.keys() == {"break_even", *(f"{prefix}{title}_{name}" for title in titles for name in NAMES)}
    points = [expected_of(data, lesion, masked) for lesion in range(2)]
    for name, point in zip(NAMES, points, strict=True):
        found = [metrics[f"{prefix}{title}_{name}"] for title in titles]
        assert found == pytest.approx(point, abs=1e-12)
    assert metrics["break_even"] == pytest.approx(np.mean([point[:2] for point in points]), abs=1e-12)


def test_the_field_of_view_changes_the_values():
    assert evaluate(items(), ["pred", "label"]) != evaluate(items(), ["pred", "label", "mask"])


def test_absent_lesion_is_nan_and_left_out_of_the_mean():
    metrics = evaluate(items(absent=(0,)), ["pred", "label"])
    assert all(math.isnan(metrics[f"{title}_microaneurysm"]) for title in ("precision", "recall", "threshold"))
    mean = (metrics["precision_haemorrhage"] + metrics["recall_haemorrhage"]) / 2
    assert metrics["break_even"] == pytest.approx(mean, abs=1e-12)
    assert math.isnan(evaluate(items(absent=(0, 1)), ["pred", "label"])["break_even"])
