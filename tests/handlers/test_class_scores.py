"""The handlers of classes in a real evaluation and in a training, and the table they become."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from monai.transforms import Compose, CopyItemsd, Lambdad
from sklearn.metrics import jaccard_score, precision_score, recall_score
from torch import nn

from tinylesions.datasets import RESULTS
from tinylesions.handlers import BestModel, ClassScores, ClassScoreTable, MetricsLog, NucleiQuality
from tinylesions.handlers.class_score_table import CLASS_ROWS, class_score_table
from tinylesions.handlers.score_differences import difference_cell
from tinylesions.metrics import CLASS_SCORES, ClassOverlapMetric, NucleiQualityMetric

NAMES = ["background", "epithelial", "lymphocyte", "eosinophil"]
BINARY = ["background", "foreground"]
CONIC = ["background", "neutrophil", "epithelial", "lymphocyte", "plasma", "eosinophil", "connective"]


def nuclei(class_map: torch.Tensor) -> torch.Tensor:
    """Nuclei (2, H, W) of a class map (1, H, W): squares of 4 × 4 pixels, each of the class of its corner."""
    classes = class_map[0, ::4, ::4].repeat_interleave(4, 0).repeat_interleave(4, 1)
    ids = torch.arange(9).view(3, 3).repeat_interleave(4, 0).repeat_interleave(4, 1) + 1
    return torch.stack([ids * (classes > 0), classes]).int()


def items(classes: int = 4, count: int = 6, last: bool = False) -> list[dict]:
    """Tiles of three sources whose image has the three results as its channels; the last class only if wanted."""
    generator = torch.Generator().manual_seed(0)
    result = []
    for number in range(count):
        label = torch.randint(0, classes - 1 + last, (1, 12, 12), generator=generator)
        wrong = torch.randint(0, classes - 1 + last, (1, 12, 12), generator=generator)
        multi_class = torch.where(torch.rand(1, 12, 12, generator=generator) < 0.6, label, wrong)
        multi_class[:, :4] = label[:, :4]
        binary = torch.where(torch.rand(1, 12, 12, generator=generator) < 0.8, label > 0, wrong > 0).long()
        image = torch.cat([multi_class, binary, multi_class * binary]).float()
        item = {"image": image, "label": label.to(torch.uint8), "source": f"tile {number % 3}", "nuclei": nuclei(label)}
        result.append(item)
    return result


def postprocessing() -> Compose:
    transforms = [CopyItemsd(["nuclei", "source"], names=["true_nuclei", "tile_source"])]
    for channel, result in enumerate(RESULTS):
        transforms.append(CopyItemsd("pred", names=result))
        transforms.append(Lambdad(result, lambda pred, channel=channel: pred[[channel]].to(torch.uint8)))
        transforms.append(CopyItemsd(result, names=f"{result}_nuclei"))
        transforms.append(Lambdad(f"{result}_nuclei", nuclei))
    return Compose(transforms)


def evaluate(data: list[dict], metrics: dict, handlers: tuple = (), runs: int = 2) -> dict[str, float]:
    names = list(metrics)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=2),
        network=nn.Identity(),
        postprocessing=postprocessing(),
        key_val_metric={names[0]: metrics[names[0]]},
        additional_metrics={name: metrics[name] for name in names[1:]},
        val_handlers=list(handlers),
    )
    for _ in range(runs):  # each starts from zero
        evaluator.run()
    return evaluator.state.metrics


def metrics_of(results: tuple[str, ...] = RESULTS, names: list[str] = NAMES) -> dict:
    found = {}
    for result in results:
        of_result = BINARY if result == "binary" else names
        pixels = from_engine([result, "label", "tile_source"])
        objects = from_engine([f"{result}_nuclei", "true_nuclei", "tile_source"])
        found[f"{result}_mean_iou"] = ClassScores(of_result, pixels, f"{result}_")
        found[f"{result}_quality"] = NucleiQuality(of_result, objects, f"{result}_")
    return found


@pytest.mark.parametrize("prefix", ["", "combined_"])
@pytest.mark.parametrize("keys", [("multi_class", "label", "tile_source"), ("multi_class", "label")])
def test_values_and_names(keys, prefix):
    data = items()
    found = evaluate(data, {"mean_iou": ClassScores(NAMES, from_engine(keys), prefix)})
    metric = ClassOverlapMetric(4)
    with_sources = len(keys) == 3
    maps = [item["image"][[0]] for item in data], [item["label"] for item in data]
    metric(*maps, sources=[item["source"] for item in data] if with_sources else None)
    for score, estimate in metric.aggregate().items():
        for end, numbers in zip(("", "_low", "_high"), estimate, strict=True):
            for name, number in zip([*NAMES, "foreground", "mean"], numbers.tolist(), strict=True):
                assert found[f"{prefix}{score}_{name}{end}"] == pytest.approx(number, abs=1e-12, nan_ok=True)
    assert found["mean_iou"] == found[f"{prefix}iou_mean"] > 0
    assert found[f"{prefix}images"] == 6
    assert found.get(f"{prefix}sources") == (3 if with_sources else None)
    assert len(found) == 4 * 6 * 3 + 2 + with_sources


def test_binary_result_is_scored_against_any_class():
    data = items()
    found = evaluate(data, {"mean_iou": ClassScores(BINARY, from_engine(["binary", "label"]), intervals=False)})
    truth = np.concatenate([item["label"].flatten().numpy() for item in data]) > 0
    predicted = np.concatenate([item["image"][1].flatten().numpy() for item in data]) > 0
    assert found["iou_foreground"] == pytest.approx(jaccard_score(truth, predicted), abs=1e-12)
    assert found["iou_background"] == pytest.approx(jaccard_score(~truth, ~predicted), abs=1e-12)
    assert found["mean_iou"] == pytest.approx((found["iou_foreground"] + found["iou_background"]) / 2, abs=1e-12)
    assert found["precision_foreground"] == pytest.approx(precision_score(truth, predicted), abs=1e-12)
    assert found["recall_foreground"] == pytest.approx(recall_score(truth, predicted), abs=1e-12)
    assert set(found) == {f"{score}_{name}" for score in CLASS_SCORES for name in [*BINARY, "mean"]} | {
        "images",
        "mean_iou",
    }


def test_panoptic_quality():
    data = items()
    found = evaluate(data, metrics_of(("combined", "binary")))
    truth = [item["nuclei"] for item in data]
    for result, channel, classes in (("combined", 2, 3), ("binary", 1, 0)):
        metric = NucleiQualityMetric(classes)
        predicted = [nuclei(item["image"][[channel]]) for item in data]
        metric(predicted, truth, sources=[item["source"] for item in data])
        columns = [*NAMES[1:], "foreground", "mean"] if classes else ["foreground"]
        for end, numbers in zip(("", "_low", "_high"), metric.aggregate()["pq"], strict=True):
            expected = dict(zip(columns, numbers.tolist(), strict=False))
            values = {name: found[f"{result}_pq_{name}{end}"] for name in columns}
            assert values == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert found["combined_quality"] == found["combined_pq_mean"] > 0
    assert found["binary_quality"] == found["binary_pq_foreground"] > 0
    assert not any(name.startswith(("binary_pq_mean", "binary_pq_background")) for name in found)


def test_best_weights_and_log_of_a_training(tmp_path):
    """The mean IoU is the key metric, which chooses the weights, and every number is a column of the log."""
    log = MetricsLog(tmp_path / "metrics.csv")
    network = nn.Linear(1, 1)
    handlers = (log, BestModel(tmp_path / "multi_class.pt", network))
    score = ClassScores(NAMES, from_engine(["multi_class", "label"]), intervals=False)
    found = evaluate(items(), {"mean_iou": score}, handlers, runs=1)
    assert (tmp_path / "multi_class.pt").is_file()
    (row,) = pd.read_csv(tmp_path / "metrics.csv").to_dict("records")
    assert row["mean_iou"] == pytest.approx(found["mean_iou"])
    assert set(row) == {"epoch", *found}
    assert not any(name.endswith(("_low", "_high")) for name in row)


def test_table_of_three_results(tmp_path, capsys):
    found = evaluate(items(), metrics_of(), (ClassScoreTable(NAMES, tmp_path),), runs=1)
    assert {file.name for file in tmp_path.iterdir()} == {"differences.csv", "scores.csv"}
    assert b"\r" not in (tmp_path / "scores.csv").read_bytes()
    table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
    assert table.index.tolist() == [
        f"{title}, {result}" for result in RESULTS for title in ("Dice", "IoU", "precision", "recall", "PQ")
    ]
    columns = [*NAMES, "mean", "foreground"]
    assert table.columns.tolist() == columns + [f"{name}_{end}" for name in columns for end in ("low", "high")]
    for title, pattern in CLASS_ROWS.items():
        for column in columns:
            for end in ("", "_low", "_high"):
                expected = found.get(pattern.format(column=column) + end, math.nan)
                assert table.loc[title, column + end] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    binary = table.loc["IoU, binary"]
    assert binary[NAMES[1:]].isna().all()
    assert binary["mean"] == pytest.approx((binary["background"] + binary["foreground"]) / 2)
    several = table.loc["IoU, combined"]
    assert several["eosinophil":"eosinophil"].isna().all(), "neither true nor predicted"
    assert several["mean"] == pytest.approx(several[NAMES[:3]].mean())
    quality = table.loc["PQ, combined"]
    assert math.isnan(quality["background"])
    assert quality["mean"] == pytest.approx(quality[NAMES[1:3]].mean())
    assert table.loc["PQ, binary", columns].notna().tolist() == [False] * 5 + [True]
    printed = capsys.readouterr().out
    assert "6 images of 3 sources at full size." in printed
    for words in (
        "(mPQ+)",
        "(bPQ)",
        "the truth holds, with the background",
        "resampled sources",
        "not of one definition",
        "precision 0",
    ):
        assert words in printed
    assert "nan" not in printed.lower()
    lines = [line.split() for line in printed.splitlines()]
    places = [lines.index([result]) for result in RESULTS]
    assert places == sorted(places)
    assert [line[0] for line in lines[places[1] + 2 : places[1] + 5]] == ["background", "mean", "foreground"]
    assert lines[places[2] + 5] == ["eosinophil", *"–––––"], "neither true nor predicted, and shown all the same"
    assert lines[places[1] + 3][1:4] == [f"{found['binary_dice_mean']:.3f}", *interval(found, "binary_dice_mean")]


def interval(found: dict[str, float], name: str) -> list[str]:
    return f"[{found[f'{name}_low']:.2f}, {found[f'{name}_high']:.2f}]".split()


def test_table_of_the_only_network(tmp_path, capsys):
    score = ClassScores(BINARY, from_engine(["binary", "label"]), "binary_")
    evaluate(items(), {"mean_iou": score}, (ClassScoreTable(NAMES, tmp_path),), runs=1)
    table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
    assert table.index.tolist() == [f"{title}, binary" for title in ("Dice", "IoU", "precision", "recall")]
    printed = capsys.readouterr().out
    assert "\n6 images at full size." in printed
    assert "resampled images" in printed
    assert not any(line.strip() in ("multi_class", "combined") for line in printed.splitlines())


def test_table_without_intervals():
    metrics = {f"multi_class_{score}_{name}": 0.5 for score in CLASS_SCORES for name in [*NAMES, "mean", "foreground"]}
    table = class_score_table(metrics | {"mean_iou": 0.5}, NAMES)
    assert table.columns.tolist() == [*NAMES, "mean", "foreground"]
    assert (table == 0.5).all(axis=None)
    assert class_score_table({}, NAMES).empty


def test_two_classes_named_as_those_of_the_binary_network(tmp_path):
    evaluate(items(2, last=True), metrics_of(names=BINARY), (ClassScoreTable(BINARY, tmp_path),), runs=1)
    table = pd.read_csv(tmp_path / "scores.csv", index_col="score")
    assert table.columns.tolist()[:3] == ["background", "foreground", "mean"]
    assert len(table) == 15
    assert table.loc["IoU, multi_class", ["background", "foreground"]].notna().all()


def test_printed_table_fits_a_terminal(tmp_path, capsys):
    evaluate(items(7, last=True), metrics_of(names=CONIC), (ClassScoreTable(CONIC, tmp_path),), runs=1)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("saved as")) <= 120
    assert sum(line.startswith("eosinophil") for line in lines) == 3


@pytest.mark.parametrize("names", [[*NAMES, "mean"], [*NAMES, "foreground"], ["background", "a", "a"]])
def test_names_that_do_not_fit(names):
    with pytest.raises(ValueError, match="a name of its own"):
        ClassScores(names)


def test_name_of_another_score():
    with pytest.raises(ValueError, match="'dice_mean' is the name of another score"):
        evaluate(items(), {"dice_mean": ClassScores(NAMES, from_engine(["multi_class", "label"]))})


def test_differences_of_two_results(tmp_path, capsys):
    data = items()
    evaluate(data, metrics_of(), (ClassScoreTable(NAMES, tmp_path),), runs=2)
    assert b"\r" not in (tmp_path / "differences.csv").read_bytes()
    scores, differences = (
        pd.read_csv(tmp_path / f"{name}.csv", index_col="score") for name in ("scores", "differences")
    )
    titles = ("Dice", "IoU", "precision", "recall", "PQ")
    assert differences.index.tolist() == [f"{title}, combined - multi_class" for title in titles]
    assert differences.columns.tolist() == scores.columns.tolist()
    columns = [*NAMES, "mean", "foreground"]
    for title in titles:
        expected = scores.loc[f"{title}, combined", columns] - scores.loc[f"{title}, multi_class", columns]
        found = differences.loc[f"{title}, combined - multi_class", columns]
        np.testing.assert_allclose(found, expected, atol=1e-12)
    # the recall of the background, tile by tile as it is drawn
    truth, channels = torch.stack([item["label"][0] for item in data]), torch.stack([item["image"] for item in data])
    counts = {tile: np.zeros(3) for tile in range(3)}
    for number in range(6):
        background = truth[number] == 0
        right = [((channels[number, channel] == 0) & background).sum() for channel in (2, 0)]
        counts[number % 3] += [*right, background.sum()]
    values = []
    for drawn in np.random.default_rng(0).multinomial(3, [1 / 3] * 3, size=1000):
        combined, multi_class, pixels = sum(times * counts[tile] for tile, times in enumerate(drawn))
        values.append(combined / pixels - multi_class / pixels)
    row = differences.loc["recall, combined - multi_class"]
    assert row[["background_low", "background_high"]].tolist() == pytest.approx(np.percentile(values, [2.5, 97.5]))
    assert row["background_low"] > 0
    printed = capsys.readouterr().out
    assert "An interval that holds 0 shows no difference." in printed
    ends = (row[f"background{end}"] * 100 for end in ("", "_low", "_high"))
    assert "{:+.1f} [{:+.1f}, {:+.1f}]".format(*ends) in printed


def test_differences_only_where_both_results_are_scored_with_sources(tmp_path, capsys):
    table = ClassScoreTable(NAMES, tmp_path)
    without = {
        result: ClassScores(NAMES, from_engine([result, "label"]), f"{result}_")
        for result in ("multi_class", "combined")
    }
    for metrics in (metrics_of(("multi_class", "binary")), without):
        (tmp_path / "differences.csv").write_text("of an earlier evaluation", encoding="utf-8")
        evaluate(items(), metrics, (table,), runs=1)
        assert [file.name for file in tmp_path.iterdir()] == ["scores.csv"]
    assert "hundredths" not in capsys.readouterr().out


def test_difference_as_text():
    assert difference_cell(0.0123, -0.0004, 0.12345) == "+1.2 [-0.0, +12.3]"
    assert difference_cell(-0.5, -0.75, 0.0) == "-50.0 [-75.0, 0.0]"
    assert difference_cell(0.0, math.nan, math.nan) == "0.0"
    assert difference_cell(math.nan, math.nan, math.nan) == "–"
