"""The table of a real evaluation: thresholds chosen in one, lesions counted at them in the next."""

from __future__ import annotations

import math
import warnings

import pandas as pd
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from monai.transforms import CopyItemsd
from torch import nn

from tinylesions.handlers import OperatingPoints
from tinylesions.metrics import LesionDetectionMetric, OperatingPointMetric

NAMES = ["microaneurysm", "haemorrhage"]
PIXELS = ["threshold", "dice", "precision", "recall", "dice_at_half"]
LESIONS = ["lesions", "found", "false_alarms_per_photo"]
OUTPUT = from_engine(["pred", "label", "mask"])


def items(absent: tuple[int, ...] = ()) -> list[dict[str, torch.Tensor]]:
    """Photos that are their own predictions: a network that returns its input is evaluated."""
    generator = torch.Generator().manual_seed(0)
    result = []
    for _ in range(3):
        label = (torch.rand(2, 30, 40, generator=generator) < 0.03).float()
        label[list(absent)] = 0
        scores = (torch.rand(2, 30, 40, generator=generator) ** 3 + 0.4 * label) / 1.4
        mask = (torch.rand(1, 30, 40, generator=generator) < 0.9).to(torch.uint8)
        result.append({"image": scores, "label": label, "field_of_view": mask})
    return result


def evaluate(data: list[dict], handler: OperatingPoints, batch_size: int = 2) -> dict[str, float]:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=batch_size),
        network=nn.Identity(),
        postprocessing=CopyItemsd("field_of_view", names="mask"),
        key_val_metric={"operating_points": handler},
    )
    evaluator.run()
    first = dict(evaluator.state.metrics)
    evaluator.run()  # a second run starts from zero
    assert evaluator.state.metrics == pytest.approx(first, nan_ok=True)
    return first


def expected_of(data: list[dict], metric: OperatingPointMetric | LesionDetectionMetric) -> pd.DataFrame:
    pred, label, mask = ([item[key] for item in data] for key in ("image", "label", "field_of_view"))
    metric(pred, label, mask=mask)
    columns = {title: column.numpy() for title, column in metric.aggregate()._asdict().items()}
    return pd.DataFrame(columns, index=pd.Index(NAMES, name="lesion"))


@pytest.mark.parametrize("batch_size", [1, 2])
def test_chosen_and_then_given(tmp_path, capsys, batch_size):
    data = items()
    choosing = OperatingPoints(NAMES, OUTPUT, tmp_path / "chosen" / "operating_points.csv")
    metrics = evaluate(data, choosing, batch_size)
    table = pd.read_csv(choosing.path, index_col="lesion")
    expected = expected_of(data, OperatingPointMetric())
    pd.testing.assert_frame_equal(table, expected, check_exact=False, rtol=1e-12)
    assert list(table) == PIXELS
    assert choosing.thresholds == table["threshold"].to_dict()
    assert metrics["operating_points"] == pytest.approx(table["dice"].mean())
    assert metrics["operating_recall_haemorrhage"] == pytest.approx(table.loc["haemorrhage", "recall"])
    assert f"saved as {choosing.path}" in capsys.readouterr().out

    counting = OperatingPoints(NAMES, OUTPUT, tmp_path / "given.csv", choosing.thresholds)
    metrics = evaluate(data, counting, batch_size)
    given = pd.read_csv(counting.path, index_col="lesion")
    # pixels are counted one by one here and by bins there
    pd.testing.assert_frame_equal(given[PIXELS], table, check_exact=False, rtol=1e-12)
    metric = LesionDetectionMetric(list(choosing.thresholds.values()))
    pd.testing.assert_frame_equal(given, expected_of(data, metric), check_exact=False, rtol=1e-12)
    assert list(given) == PIXELS + LESIONS
    assert counting.thresholds == choosing.thresholds
    assert metrics["operating_found_microaneurysm"] == given.loc["microaneurysm", "found"] > 0
    assert metrics["operating_false_alarms_per_photo_microaneurysm"] > 0


def test_a_lesion_in_no_photo_gets_a_half_and_a_warning(tmp_path):
    handler = OperatingPoints(NAMES, OUTPUT, tmp_path / "points.csv")
    with pytest.warns(UserWarning, match="no threshold finds a true pixel of microaneurysm in these photos: 0.5"):
        metrics = evaluate(items(absent=(0,)), handler)
    assert handler.thresholds["microaneurysm"] == 0.5 != handler.thresholds["haemorrhage"]
    row = pd.read_csv(handler.path, index_col="lesion").loc["microaneurysm"]
    assert row["threshold"] == 0.5
    assert row.drop("threshold").isna().all()
    assert metrics["operating_points"] == metrics["operating_dice_haemorrhage"]
    counting = OperatingPoints(NAMES, OUTPUT, tmp_path / "given.csv", handler.thresholds)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        metrics = evaluate(items(absent=(0,)), counting)
    assert metrics["operating_lesions_microaneurysm"] == 0 < metrics["operating_false_alarms_per_photo_microaneurysm"]
    assert math.isnan(metrics["operating_dice_microaneurysm"])


def test_a_lesion_without_a_threshold_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no threshold for haemorrhage$"):
        OperatingPoints(NAMES, OUTPUT, tmp_path / "points.csv", {"microaneurysm": 0.5})
