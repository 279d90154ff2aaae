"""The handler's values in a real evaluation, against the metric on all photos at once."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from monai.transforms import CopyItemsd
from torch import nn

from tinylesions.handlers.free_response import FreeResponse
from tinylesions.metrics.free_response import FALSE_POSITIVE_RATES, FreeResponseMetric

NAMES = ["microaneurysm", "haemorrhage"]


def items(absent: tuple[int, ...] = ()) -> list[dict[str, torch.Tensor]]:
    """Photos that are their own predictions: a network that returns its input is evaluated."""
    generator = torch.Generator().manual_seed(0)
    result = []
    for _ in range(3):
        label = (torch.rand(2, 20, 24, generator=generator) < 0.02).float()
        label[list(absent)] = 0
        alarms = torch.rand(2, 20, 24, generator=generator) < 0.02
        scores = torch.rand(2, 20, 24, generator=generator) * (alarms | (label > 0))
        mask = torch.ones(1, 20, 24, dtype=torch.uint8)
        mask[:, :5] = 0
        result.append({"image": scores, "label": label, "field_of_view": mask})
    return result


def evaluate(data: list[dict], keys: list[str], batch_size: int = 2) -> dict[str, float]:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=batch_size),
        network=nn.Identity(),
        # an engine's output holds image, label, pred and what the post-processing adds
        postprocessing=CopyItemsd("field_of_view", names="mask"),
        key_val_metric={"free_response": FreeResponse(NAMES, output_transform=from_engine(keys))},
    )
    evaluator.run()
    evaluator.run()  # a second run starts from zero
    assert evaluator.state.key_metric_name == "free_response"
    return evaluator.state.metrics


def expected_of(data: list[dict], masked: bool) -> dict[str, float]:
    metric = FreeResponseMetric()
    parts = [[item[key] for item in data] for key in ("image", "label", "field_of_view")]
    metric(*parts[:2], mask=parts[2] if masked else None)
    scores = metric.aggregate()
    values = {"free_response": float(scores.score.nanmean())}
    for index, lesion in enumerate(NAMES):
        values[f"free_response_score_{lesion}"] = float(scores.score[index])
        for rate, sensitivity in zip(FALSE_POSITIVE_RATES, scores.sensitivity[index], strict=True):
            values[f"sensitivity_at_{rate:g}_{lesion}"] = float(sensitivity)
        for name in ("true_positive", "false_positive", "false_negative"):
            values[f"{name}_lesions_{lesion}"] = int(getattr(scores, f"{name}s")[index])
    return values


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_against_the_metric(masked, batch_size):
    data = items()
    found = evaluate(data, ["pred", "label", "mask"][: 3 if masked else 2], batch_size)
    assert found == pytest.approx(expected_of(data, masked), abs=1e-12)
    assert 0 < found["sensitivity_at_0.125_haemorrhage"] < found["sensitivity_at_8_haemorrhage"]
    assert {"sensitivity_at_1_microaneurysm", "free_response_score_microaneurysm"} < found.keys()


def test_the_field_of_view_changes_the_values():
    assert evaluate(items(), ["pred", "label"]) != evaluate(items(), ["pred", "label", "mask"])


def test_absent_lesion_is_nan_and_left_out_of_the_mean():
    metrics = evaluate(items(absent=(0,)), ["pred", "label"])
    assert math.isnan(metrics["free_response_score_microaneurysm"])
    assert math.isnan(metrics["sensitivity_at_1_microaneurysm"])
    assert metrics["false_positive_lesions_microaneurysm"] > 0
    assert metrics["free_response"] == metrics["free_response_score_haemorrhage"]
    assert math.isnan(evaluate(items(absent=(0, 1)), ["pred", "label"])["free_response"])


def test_plain_ignite_engine_with_batch_tensors():
    data = items()
    engine = Engine(lambda _, batch: (batch["image"], batch["label"]))
    FreeResponse(NAMES).attach(engine, "free_response")
    engine.run(DataLoader(Dataset(data), batch_size=3))
    assert engine.state.metrics == pytest.approx(expected_of(data, False), abs=1e-12)


def test_photos_of_different_sizes():
    data = items()
    data[1] = {key: value[:, :9] for key, value in data[1].items()}
    assert evaluate(data, ["pred", "label", "mask"], batch_size=1) == pytest.approx(expected_of(data, True), abs=1e-12)
