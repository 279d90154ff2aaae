"""The handler's values in a real evaluation are those of the metric, named."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from monai.transforms import Compose, CopyItemsd, Lambdad
from torch import nn

from tinylesions.handlers import PixelAveragePrecision, PixelBreakEven, PixelProtocols, ScoreTable
from tinylesions.metrics import PROTOCOLS, PixelProtocolsMetric

NAMES = ["microaneurysm", "haemorrhage"]


def items(count: int, absent: tuple[int, ...] = ()) -> list[dict[str, torch.Tensor]]:
    """Photos that are their own predictions: a network that returns its input is evaluated."""
    generator = torch.Generator().manual_seed(0)
    result = []
    for _ in range(count):
        label = (torch.rand(2, 70, 80, generator=generator) < 0.02).float()
        label[list(absent)] = 0
        scores = (torch.rand(2, 70, 80, generator=generator) + 0.4 * label) / 1.4
        mask = (torch.rand(1, 70, 80, generator=generator) < 0.8).to(torch.uint8)
        result.append({"image": scores, "label": label, "field_of_view": mask})
    return result


def evaluate(data: list[dict], folder, **options) -> dict[str, float]:
    output = from_engine(["pred", "label", "mask"])
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=2),
        network=nn.Identity(),
        postprocessing=CopyItemsd("field_of_view", names="mask"),
        key_val_metric={"mean_average_precision": PixelAveragePrecision(NAMES, output_transform=output)},
        additional_metrics={"protocols": PixelProtocols(NAMES, output_transform=output, **options)},
        val_handlers=[ScoreTable(NAMES, folder)],
    )
    evaluator.run()
    return evaluator.state.metrics


def test_values_intervals_and_table(tmp_path, capsys):
    data = items(3)
    metrics = evaluate(data, tmp_path)
    metric = PixelProtocolsMetric()
    metric(
        *(torch.stack([item[key] for item in data]) for key in ("image", "label")),
        mask=[i["field_of_view"] for i in data],
    )
    table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
    assert table.index.tolist() == [f"average precision ({protocol})" for protocol in PROTOCOLS]
    for protocol, estimate in metric.aggregate().items():
        for end, numbers in zip(("", "_low", "_high"), estimate, strict=True):
            for name, number in zip([*NAMES, "mean"], numbers.tolist(), strict=True):
                assert metrics[f"average_precision_{protocol}_{name}{end}"] == pytest.approx(number, abs=1e-12)
                assert table.loc[f"average precision ({protocol})", f"{name}{end}"] == pytest.approx(number, abs=1e-12)
    assert metrics["protocols"] == metrics["average_precision_exact_mean"] == metrics["mean_average_precision"]
    exact = metrics["average_precision_exact_haemorrhage"]
    low, high = (metrics[f"average_precision_exact_haemorrhage_{end}"] for end in ("low", "high"))
    assert f"{exact:.3f} [{low:.2f}, {high:.2f}]" in capsys.readouterr().out


def test_single_photo_without_a_lesion(tmp_path, capsys):
    metrics = evaluate(items(1, absent=(0,)), tmp_path)
    for protocol in PROTOCOLS:
        assert math.isnan(metrics[f"average_precision_{protocol}_microaneurysm"])
        mean, only = (metrics[f"average_precision_{protocol}_{name}"] for name in ("mean", "haemorrhage"))
        assert mean == only > 0
        assert math.isnan(metrics[f"average_precision_{protocol}_mean_low"])
    table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
    assert table.filter(regex="_low|_high").isna().to_numpy().all()
    printed = capsys.readouterr().out
    assert "–" in printed
    assert "[nan" not in printed


def test_two_photo_sizes_in_one_engine(tmp_path, capsys):
    """The prefix parts their names; each has the values it has alone."""
    data = items(3)
    every_second = Compose(
        [
            CopyItemsd(["pred", "label", "field_of_view"], names=["small_pred", "small_label", "small_mask"]),
            Lambdad(["small_pred", "small_label", "small_mask"], lambda photo: photo[:, ::2, ::2]),
            CopyItemsd("field_of_view", names="mask"),
        ]
    )
    full, small = from_engine(["pred", "label", "mask"]), from_engine(["small_pred", "small_label", "small_mask"])
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=1),
        network=nn.Identity(),
        postprocessing=every_second,
        key_val_metric={"protocols": PixelProtocols(NAMES, output_transform=full)},
        additional_metrics={
            "reduced": PixelProtocols(NAMES, output_transform=small, prefix="reduced_"),
            "break_even": PixelBreakEven(NAMES, output_transform=small, prefix="reduced_"),
        },
        val_handlers=[ScoreTable(NAMES, tmp_path / "both")],
    )
    evaluator.run()
    both = evaluator.state.metrics

    alone = evaluate(data, tmp_path)
    shrunk = evaluate([{key: value[:, ::2, ::2] for key, value in item.items()} for item in data], tmp_path)
    named = [name for name in alone if name.startswith("average_precision_") and name.count("_") > 2]
    assert len(named) == 5 * 3 * 3
    for name in named:
        assert both[name] == alone[name]
        assert both[f"reduced_{name}"] == shrunk[name] != alone[name]
    assert both["reduced"] == shrunk["protocols"] != both["protocols"] == alone["protocols"]

    table = pd.read_csv(tmp_path / "both" / "scores.csv", index_col="score")
    assert len(table) == 2 * len(PROTOCOLS) + 2
    row = table.loc["average precision (exact), reduced size"]
    assert row["mean_high"] == pytest.approx(both["reduced_average_precision_exact_mean_high"], abs=1e-12)
    assert table.loc["recall at break-even, reduced size", "haemorrhage"] == both["reduced_recall_haemorrhage"]
    assert "where a row says reduced size" in capsys.readouterr().out


@pytest.mark.parametrize("protocols", [["exact"], ["per_image", "idrid33"]])
def test_chosen_protocols_only(tmp_path, protocols):
    """They have the values that they have among all; the metric itself is the mean of the first."""
    data = items(3)
    every, chosen = evaluate(data, tmp_path / "all"), evaluate(data, tmp_path / "chosen", protocols=protocols)
    wanted = tuple(f"average_precision_{protocol}_" for protocol in protocols)
    left_out = tuple(f"average_precision_{protocol}_" for protocol in PROTOCOLS if protocol not in protocols)
    assert sum(name.startswith(wanted) for name in chosen) == len(protocols) * 9
    kept = {name: value for name, value in every.items() if not name.startswith(left_out)}
    assert chosen == {**kept, "protocols": every[f"average_precision_{protocols[0]}_mean"]}
    tables = [pd.read_csv(tmp_path / folder / "scores.csv", index_col="score") for folder in ("all", "chosen")]
    rows = [f"average precision ({protocol})" for protocol in PROTOCOLS if protocol in protocols]
    pd.testing.assert_frame_equal(tables[1], tables[0].loc[rows])


@pytest.mark.parametrize("protocols", [["exact", "idrid"], ["drac"], []])
def test_unknown_protocol_is_named(protocols):
    with pytest.raises(
        ValueError, match=f"some of {', '.join(PROTOCOLS)}, not {protocols[-1] if protocols else 'none'}$"
    ):
        PixelProtocols(NAMES, protocols=protocols)
