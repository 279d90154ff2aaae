"""The UW-OCTA paper's tables: faithful to what is printed, their networks and schedules those that the rows name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from tinylesions.networks import DeepLabV3Plus, SAMAdapter, UNet, UNetPlusPlus

from .configs import merge, read_json

BUNDLE = Path(__file__).parents[2] / "monai_bundles" / "octa_dr_lesion_segmentation"
CONFIGS = BUNDLE / "configs"
TABLES = sorted(BUNDLE.glob("experiments/*.json"))
TASKS = {
    "IRMA": "intraretinal_microvascular_abnormality",
    "NPA": "nonperfusion_area",
    "NV": "neovascularisation",
}
EPOCHS = 300

# written from the paper, not read from a file; "\" is printed where there is no value
TABLE_2 = r"""
Unet++     | 1E-04 | 1E-09 | MultiStepLR       | Dice | Adam  | Dice Loss | [1024,1024]
Unet       | 1E-04 | 1E-09 | CosineAnnealingLR | Dice | Adam  | Dice Loss | [1024,1024]
SAMadapter | 2E-04 | 1E-07 | MultiStepLR       | Dice | AdamW | Dice Loss | [1024,1024]
DeepLabV3+ | 5E-04 | 5E-09 | \                 | Dice | Adam  | Dice Loss | [1024,1024]
"""
TABLE_4 = r"""
Unet                        | \      | 0.5526 | 0.4888
Unet++                      | 0.2885 | \      | \
Unet++ with Attention Layer | 0.3764 | 0.5849 | 0.4354
DeepLab                     | 0.1373 | 0.5078 | \
SAMadapter                  | 0.3061 | \      | \
"""
FINAL = (0.3764, 0.5849, 0.4888)
LEADERBOARD = {"mean Dice": 0.4833, "mean IoU": 0.3428}

ATTENTION = "Unet++ with Attention Layer"
NAMED = {"Unet": UNet, "Unet++": UNetPlusPlus, ATTENTION: UNetPlusPlus, "DeepLab": DeepLabV3Plus}
NAMED |= {"DeepLabV3+": DeepLabV3Plus, "SAMadapter": SAMAdapter}
FINAL_NETWORKS = {"IRMA": ATTENTION, "NPA": ATTENTION, "NV": "Unet"}


def printed(text: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return {name: cells for name, *cells in lines}


def rows_of(name: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in read_json(BUNDLE / "experiments" / f"{name}.json")["rows"]}


def published(row: dict[str, Any], score: str = "Dice") -> list[float | None]:
    return [row["published"][f"{lesion} {score}"] for lesion in TASKS.values()]


def cases() -> list[Any]:
    return [
        pytest.param(table["overrides"], row, id=f"{path.stem}-{row['name']}")
        for path in TABLES
        for table in [read_json(path)]
        for row in table["rows"]
    ]


def overridden(overrides: dict[str, Any], *configs: str) -> ConfigParser:
    """The row's config, its networks as small as the cpu preset has them, its schedules the paper's."""
    parser = merge([str(CONFIGS / f"{name}.json") for name in ("train", *configs)])
    preset = read_json(CONFIGS / "cpu.json")
    small = {id: value for id, value in preset.items() if id == "widths" or id.startswith("network_types#")}
    parser.update(small | {"device": "cpu"} | overrides)
    return parser


def check_network(network: nn.Module, name: str) -> None:
    assert type(network) is NAMED[name]
    # only channel attention has a sigmoid
    assert any(isinstance(part, nn.Sigmoid) for part in network.modules()) == (name == ATTENTION)


def test_all_tables_are_there():
    assert [path.stem for path in TABLES] == ["table_2", "table_3", "table_4"]


def test_published_values_are_the_printed_ones():
    rows = rows_of("table_4")
    assert rows.keys() == printed(TABLE_4).keys()
    for name, cells in printed(TABLE_4).items():
        assert published(rows[name]) == [None if cell == "\\" else float(cell) for cell in cells]
    figures = [value for row in rows.values() for value in row["published"].values() if value is not None]
    assert len(figures) == 9

    (final,) = rows_of("table_3").values()
    assert published(final) == list(FINAL)
    assert {column: final["published"][column] for column in LEADERBOARD} == LEADERBOARD
    figures = [value for value in final["published"].values() if value is not None]
    assert sorted(figures) == sorted([*FINAL, *LEADERBOARD.values()])

    rows = rows_of("table_2")
    assert rows.keys() == printed(TABLE_2).keys()
    assert {value for row in rows.values() for value in row["published"].values()} == {None}


def test_the_final_system_is_made_of_the_best_networks_of_table_4():
    (final,) = rows_of("table_3").values()
    rows = rows_of("table_4")
    for code, *scores in zip(TASKS, *map(published, rows.values()), strict=True):
        best = max(range(len(scores)), key=lambda place: scores[place] or 0)
        assert scores[best] == published(final)[list(TASKS).index(code)]
        assert FINAL_NETWORKS[code] == list(rows)[best]
    assert final["published"]["mean Dice"] == pytest.approx(sum(FINAL) / 3, abs=1e-4)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_trains_all_lesions_and_says_what_its_figures_are_of(path):
    table = read_json(path)
    assert table["run"] == "training_all"
    if path.stem != "table_2":
        assert "hidden test set" in table["note"]
        assert "They are not of the same images." in table["note"]
    assert "validation split" in table["note"]
    for row in table["rows"]:
        assert row["train"]["architectures"] == row["evaluate"]["architectures"]
        assert list(row["train"]["architectures"]) == list(TASKS)


@pytest.mark.parametrize("code", TASKS)
@pytest.mark.parametrize(("overrides", "row"), cases())
def test_trained_network_is_the_one_that_the_row_names(overrides, row, code):
    parser = overridden(overrides | row["train"] | {"lesion": code})
    network = parser.get_parsed_content("network_def")
    check_network(network, FINAL_NETWORKS[code] if row["name"] == "final system" else row["name"])
    assert network.eval()(torch.zeros(1, 1, 64, 64)).shape == (1, 1, 64, 64)


@pytest.mark.parametrize(("overrides", "row"), cases())
def test_evaluated_networks_are_the_trained_ones(overrides, row, tmp_path):
    parser = overridden(overrides | row["evaluate"] | {"ckpt_path": str(tmp_path)}, "evaluate")
    merged = parser.get_parsed_content("network_def")
    assert list(merged.networks) == list(TASKS)
    for code, network in merged.networks.items():
        check_network(network, FINAL_NETWORKS[code] if row["name"] == "final system" else row["name"])
        trained = overridden(overrides | row["train"] | {"lesion": code}).get_parsed_content("network_def")
        shapes = [{name: value.shape for name, value in built.state_dict().items()} for built in (network, trained)]
        assert shapes[0] == shapes[1]


def literal_rates(scheduler: str, first: float, last: float) -> list[float]:
    """The learning rate of each epoch, by the text of section 3.3.2 and PyTorch's formulas."""
    if scheduler == "MultiStepLR":
        return [first if epoch < EPOCHS / 4 else first / 10 for epoch in range(EPOCHS)]
    if scheduler == "CosineAnnealingLR":
        return [last + (first - last) * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2 for epoch in range(EPOCHS)]
    assert scheduler == "\\"
    return [first] * EPOCHS


@pytest.mark.parametrize("name", printed(TABLE_2))
def test_settings_of_each_architecture_are_those_of_table_2(name):
    first, last, scheduler, metric, optimizer_name, loss, size = printed(TABLE_2)[name]
    parser = overridden(rows_of("table_2")[name]["train"] | {"max_epochs": EPOCHS})
    optimizer = parser.get_parsed_content("optimizer")
    schedule = parser.get_parsed_content("lr_scheduler")
    assert type(optimizer).__name__ == optimizer_name
    rates = []
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(literal_rates(scheduler, float(first), float(last)), rel=1e-6)
    assert type(parser.get_parsed_content("train#loss")).__name__ == loss.replace(" ", "")
    assert metric in parser["validate::key_metric::mean_dice::_target_"]
    assert str(parser["spatial_size"]).replace(" ", "") == size


def test_the_attention_network_is_trained_as_unet_plus_plus_is():
    schedules = read_json(CONFIGS / "train.json")["schedules"]
    assert schedules["unet_plus_plus_attention"] == schedules["unet_plus_plus"]


def test_segment_anything_s_weights_are_asked_for_by_name():
    needing = {
        (path.stem, row["name"]): row["needs_pretrained"]
        for path in TABLES
        for row in read_json(path)["rows"]
        if "needs_pretrained" in row
    }
    assert needing.keys() == {("table_2", "SAMadapter"), ("table_4", "SAMadapter")}
    assert all("sam_vit_b_01ec64.pth" in needed for needed in needing.values())
