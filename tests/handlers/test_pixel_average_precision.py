"""The handler's values in a real evaluation, against scikit-learn on the pooled pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from monai.transforms import CopyItemsd
from sklearn.metrics import average_precision_score
from torch import nn

from tinylesions.handlers import PixelAveragePrecision

NAMES = ["microaneurysm", "haemorrhage"]


def items(heads: int = 1, absent: tuple[int, ...] = ()) -> list[dict[str, torch.Tensor]]:
    """Photos that are their own predictions: a network that returns its input is evaluated."""
    generator = torch.Generator().manual_seed(0)
    result = []
    for _ in range(3):
        label = (torch.rand(2, 9, 11, generator=generator) < 0.3).float()
        label[list(absent)] = 0
        noise = torch.rand(2 * heads, 9, 11, generator=generator)
        scores = ((noise + 0.4 * label.repeat(heads, 1, 1)) * 500).round() / 1024
        mask = (torch.rand(1, 9, 11, generator=generator) < 0.8).to(torch.uint8)
        result.append({"image": scores, "label": label, "field_of_view": mask})
    return result


def evaluate(data: list[dict], heads: int, keys: list[str], batch_size: int = 2) -> dict[str, float]:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=batch_size),
        network=nn.Identity(),
        # an engine's output holds image, label, pred and what the post-processing adds
        postprocessing=CopyItemsd("field_of_view", names="mask"),
        key_val_metric={"mean": PixelAveragePrecision(NAMES, heads, output_transform=from_engine(keys))},
    )
    evaluator.run()
    evaluator.run()  # a second run starts from zero
    assert evaluator.state.key_metric_name == "mean"
    return evaluator.state.metrics


def expected_of(data: list[dict], channel: int, lesion: int, masked: bool) -> float:
    truth = np.concatenate([item["label"][lesion].numpy().ravel() > 0 for item in data])
    scores = np.concatenate([item["image"][channel].numpy().ravel() for item in data])
    inside = np.concatenate([item["field_of_view"][0].numpy().ravel() > 0 for item in data]) | (not masked)
    counted = inside | truth
    return average_precision_score(truth[counted], np.where(inside, scores, 0)[counted])


@pytest.mark.parametrize("masked", [False, True])
def test_one_head(masked):
    data = items()
    metrics = evaluate(data, 1, ["pred", "label", "mask"][: 3 if masked else 2])
    expected = [expected_of(data, index, index, masked) for index in range(2)]
    assert metrics.keys() == {"mean", *(f"average_precision_{name}" for name in NAMES)}
    for name, value in zip(NAMES, expected, strict=True):
        assert metrics[f"average_precision_{name}"] == pytest.approx(value, abs=1e-12)
    assert metrics["mean"] == pytest.approx(np.mean(expected), abs=1e-12)


def test_the_field_of_view_changes_the_values():
    assert evaluate(items(), 1, ["pred", "label"]) != evaluate(items(), 1, ["pred", "label", "mask"])


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_several_heads(batch_size):
    data = items(heads=3)
    metrics = evaluate(data, 3, ["pred", "label", "mask"], batch_size)
    for head in range(3):
        expected = [expected_of(data, 2 * head + index, index, True) for index in range(2)]
        found = [metrics[f"average_precision_{name}_output_{head + 1}"] for name in NAMES]
        assert found == pytest.approx(expected, abs=1e-12)
        assert metrics[f"mean_output_{head + 1}"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert metrics["mean"] == metrics["mean_output_3"]
    assert len(metrics) == 1 + 3 * 3


def test_absent_lesion_is_nan_and_left_out_of_the_mean():
    metrics = evaluate(items(absent=(0,)), 1, ["pred", "label"])
    assert math.isnan(metrics["average_precision_microaneurysm"])
    assert metrics["mean"] == metrics["average_precision_haemorrhage"]
    assert math.isnan(evaluate(items(absent=(0, 1)), 1, ["pred", "label"])["mean"])


def test_plain_ignite_engine_with_batch_tensors():
    data = items()
    engine = Engine(lambda _, batch: (batch["image"], batch["label"]))
    PixelAveragePrecision(NAMES).attach(engine, "mean")
    engine.run(DataLoader(Dataset(data), batch_size=3))
    expected = np.mean([expected_of(data, index, index, False) for index in range(2)])
    assert engine.state.metrics["mean"] == pytest.approx(expected, abs=1e-12)


def test_lists_of_photos_of_different_sizes():
    data = items()
    data[1] = {key: value[:, :5] for key, value in data[1].items()}
    metrics = evaluate(data, 1, ["pred", "label", "mask"], batch_size=1)
    expected = np.mean([expected_of(data, index, index, True) for index in range(2)])
    assert metrics["mean"] == pytest.approx(expected, abs=1e-12)
