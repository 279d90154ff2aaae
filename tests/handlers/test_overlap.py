"""The handler's values and its table of images in a real evaluation, and the rows they become."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanDice, from_engine
from monai.transforms import Compose, CopyItemsd, Lambdad
from torch import nn

from tinylesions.handlers import Overlap, PixelProtocols, ScoreTable
from tinylesions.metrics import OVERLAP_SCORES, OverlapMetric

NAMES = ["intraretinal_microvascular_abnormality", "nonperfusion_area"]
OUTPUT = ("pred", "label", "image_id")
TITLES = {
    "Dice (DRAC2022)": "dice",
    "IoU (DRAC2022)": "iou",
    "Dice, empty images counted": "dice_with_empty",
    "empty images with false positives": "false_positive_images",
    "false positive pixels of empty images": "false_positive_pixels",
}


def items(absent: tuple[int, ...] = ()) -> list[dict]:
    """Images that are their own predictions: a network that returns its input is evaluated."""
    generator = torch.Generator().manual_seed(0)
    result = []
    for number in ("10", "9", "101", "007", "8"):
        label = (torch.rand(2, 9, 11, generator=generator) < 0.3).float()
        if number in ("9", "8"):
            label[0] = 0
        label[list(absent)] = 0
        scores = (torch.rand(2, 9, 11, generator=generator) + 0.4 * label) / 1.4
        if number == "8":
            scores *= 0.5
        result.append({"image": scores, "label": label, "id": number})
    return result


def evaluate(data: list[dict], metrics: dict, handlers: tuple = (), batch_size: int = 2) -> dict[str, float]:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=batch_size),
        network=nn.Identity(),
        postprocessing=Compose(
            [
                CopyItemsd("id", names="image_id"),
                CopyItemsd("pred", names="mask"),
                Lambdad("mask", lambda pred: (pred >= 0.5).float()),
            ]
        ),
        key_val_metric=metrics,
        val_handlers=list(handlers),
    )
    evaluator.run()
    evaluator.run()  # a second run starts from zero
    return evaluator.state.metrics


def expected(data: list[dict]) -> OverlapMetric:
    metric = OverlapMetric()
    metric(*(torch.stack([item[key] for item in data]) for key in ("image", "label")))
    return metric


@pytest.mark.parametrize("prefix", ["", "reduced_"])
@pytest.mark.parametrize("keys", [OUTPUT, OUTPUT[:2]])
def test_values_and_names(keys, prefix):
    data = items()
    found = evaluate(data, {"mean_dice": Overlap(NAMES, from_engine(keys), prefix)})
    for score, estimate in expected(data).aggregate().items():
        for end, numbers in zip(("", "_low", "_high"), estimate, strict=True):
            for name, number in zip([*NAMES, "mean"], numbers.tolist(), strict=True):
                assert found[f"{prefix}{score}_{name}{end}"] == pytest.approx(number, abs=1e-12, nan_ok=True)
    assert [found[f"{prefix}empty_images_{name}"] for name in NAMES] == [2, 0]
    assert found["mean_dice"] == found[f"{prefix}dice_mean"]
    assert len(found) == len(OVERLAP_SCORES) * 3 * 3 + 2 + 1


def test_table_of_images(tmp_path):
    data = items()
    path = tmp_path / "results" / "image_scores.csv"
    evaluate(data, {"mean_dice": Overlap(NAMES, from_engine(OUTPUT), image_scores=path)})
    assert b"\r" not in path.read_bytes()
    table = pd.read_csv(path, dtype={"id": str})
    columns = ["id", "lesion", "truth_px", "predicted_px", "intersection_px", "dice", "iou"]
    assert table.columns.tolist() == columns
    assert table["id"].tolist() == [number for number in ("007", "8", "9", "10", "101") for _ in NAMES]
    assert table["lesion"].tolist() == NAMES * 5
    by_id = {item["id"]: item for item in data}
    for row in table.itertuples():
        channel = NAMES.index(row.lesion)
        truth = by_id[row.id]["label"][channel].numpy() > 0
        predicted = by_id[row.id]["image"][channel].numpy() >= 0.5
        counts = [truth.sum(), predicted.sum(), (truth & predicted).sum()]
        assert [row.truth_px, row.predicted_px, row.intersection_px] == counts
        if truth.any():
            assert row.dice == pytest.approx(2 * counts[2] / (counts[0] + counts[1]), abs=1e-12)
            assert row.iou == pytest.approx(counts[2] / (truth | predicted).sum(), abs=1e-12)
        else:
            assert math.isnan(row.dice)
            assert math.isnan(row.iou)
    alarms = table[(table["truth_px"] == 0) & (table["predicted_px"] > 0)]
    assert alarms[["id", "lesion"]].to_numpy().tolist() == [["9", NAMES[0]]]
    assert [file.name for file in path.parent.iterdir()] == ["image_scores.csv"]


def test_table_needs_ids(tmp_path):
    handler = Overlap(NAMES, from_engine(OUTPUT[:2]), image_scores=tmp_path / "image_scores.csv")
    with pytest.raises(ValueError, match="give their ids as a third part"):
        evaluate(items(), {"mean_dice": handler})


@pytest.mark.parametrize("name", ["dice", "intersection_over_union", "accuracy"])
def test_name_of_another_row(name):
    with pytest.raises(ValueError, match=f"'{name}' names a row"):
        evaluate(items(), {name: Overlap(NAMES, from_engine(OUTPUT))})


def test_evaluation_that_has_only_these_rows(tmp_path, capsys):
    data = items()
    found = evaluate(data, {"mean_dice": Overlap(NAMES, from_engine(OUTPUT))}, (ScoreTable(NAMES, tmp_path),))
    table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
    assert table.index.tolist() == list(TITLES)
    for title, score in TITLES.items():
        for column in (*NAMES, "mean"):
            for end in ("", "_low", "_high"):
                assert table.loc[title, column + end] == pytest.approx(
                    found[f"{score}_{column}{end}"], abs=1e-12, nan_ok=True
                )
    printed = capsys.readouterr().out
    assert "\n5 images at full size.\nDice and IoU are the mean of the images that hold the lesion, as in" in printed
    assert "Empty images, which do not: intraretinal_microvascular_abnormality 2, nonperfusion_area 0." in printed
    assert "95 % intervals from resampled images" in printed
    assert not any(word in printed for word in ("Average precision", "field of view", "photo", "nan"))
    alarms = next(line for line in printed.splitlines() if line.startswith("empty images with false positives"))
    assert alarms.split()[5:] == ["0.500", "[0.00,", "1.00]", "–", "0.500", "[0.00,", "1.00]"]


def test_average_precision_beside_them(tmp_path, capsys):
    """And MONAI's own lists of Dice, whose names are others."""
    data = items()
    metrics = {
        "mean_dice": Overlap(NAMES, from_engine(OUTPUT)),
        "protocols": PixelProtocols(NAMES, from_engine(OUTPUT[:2])),
        "dice": MeanDice(reduction="mean_batch", output_transform=from_engine(["mask", "label"])),
    }
    found = evaluate(data, metrics, (ScoreTable(NAMES, tmp_path),), batch_size=5)
    table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
    assert len(table) == len(TITLES) + 5 + 1
    np.testing.assert_allclose(
        table.loc["Dice at 0.5", NAMES].astype(float), table.loc["Dice (DRAC2022)", NAMES].astype(float), atol=1e-6
    )
    assert found["mean_dice"] == pytest.approx(float(np.mean(np.array(found["dice"]))), abs=1e-6)
    printed = capsys.readouterr().out
    assert "\n5 images at full size. Average precision by its protocols, inside the field of view where" in printed
    assert "photo" not in printed


def test_lesion_that_no_image_holds(tmp_path):
    found = evaluate(
        items(absent=(0,)), {"mean_dice": Overlap(NAMES, from_engine(OUTPUT))}, (ScoreTable(NAMES, tmp_path),)
    )
    assert math.isnan(found[f"dice_{NAMES[0]}"])
    assert found["mean_dice"] == found[f"dice_{NAMES[1]}"] > 0
    assert found[f"empty_images_{NAMES[0]}"] == 5
    table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
    assert math.isnan(table.loc["Dice (DRAC2022)", NAMES[0]])
    assert table.loc["Dice (DRAC2022)", "mean"] == pytest.approx(found["mean_dice"], abs=1e-12)
    both = evaluate(items(absent=(0, 1)), {"mean_dice": Overlap(NAMES, from_engine(OUTPUT))})
    assert math.isnan(both["mean_dice"])
