"""The tables of the papers: well formed, faithful to what is printed, and runnable on the bundle's configs."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from tinylesions.datasets import LAYOUTS, LESIONS

BUNDLES = Path(__file__).parents[2] / "monai_bundles"
FUNDUS_MULTI_LESION = BUNDLES / "fundus_multi_lesion_segmentation"
TABLES = sorted(BUNDLES.glob("*/experiments/*.json"))
TINY_WIDTHS = [2, 2, 2, 2, 2]

TABLE_KEYS = {"title", "paper", "dataset", "metric", "protocol", "note", "overrides", "rows"}
ROW_KEYS = {"name", "train", "evaluate", "published"}


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def read_config(path: Path, name: str) -> dict[str, Any]:
    return read(path.parents[1] / "configs" / f"{name}.json")


def published(table: int, row: str) -> dict[str, float]:
    rows = read(FUNDUS_MULTI_LESION / "experiments" / f"table_{table}.json")["rows"]
    return next(r["published"] for r in rows if r["name"] == row)


def network_cases() -> list[Any]:
    """Every way in which a row trains or evaluates a network."""
    return [
        pytest.param(path, use, table["overrides"] | row[use], id=f"{path.stem}-{row['name']}-{use}")
        for path in TABLES
        for table in [read(path)]
        for row in table["rows"]
        for use in ("train", "evaluate")
    ]


def test_fundus_multi_lesion_has_all_tables():
    assert [path.name for path in TABLES if path.parents[1] == FUNDUS_MULTI_LESION] == [
        f"table_{number}.json" for number in range(2, 8)
    ]


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
class TestTable:
    def test_keys(self, path):
        table = read(path)
        assert table.keys() - {"open"} == TABLE_KEYS
        assert table["dataset"] in LAYOUTS
        assert table["overrides"]["layout"] == table["dataset"]
        assert table["metric"] == "average_precision"
        for row in table["rows"]:
            assert row.keys() - {"weights_of", "integrates", "note"} == ROW_KEYS
            assert row.get("integrates", True) is True
        for row in table.get("open", []):
            assert row.keys() - {"note"} == {"name", "why", "published"}

    def test_names_are_unique_and_weights_come_from_rows_that_train(self, path):
        table = read(path)
        names = [row["name"] for row in table["rows"] + table.get("open", [])]
        assert len(names) == len(set(names))
        trained = {row["name"] for row in table["rows"] if "weights_of" not in row}
        for row in table["rows"]:
            if "weights_of" in row:
                assert row["weights_of"] in trained
                assert row["train"] == {}, "a row that takes another's weights has no training to override"

    def test_published_values(self, path):
        table = read(path)
        for row in table["rows"] + table.get("open", []):
            assert row["published"].keys() == {*LESIONS, "mean"}
            assert all(0 < value < 1 for value in row["published"].values())

    def test_a_note_tells_where_the_printed_mean_is_wrong(self, path):
        table = read(path)
        for row in table["rows"] + table.get("open", []):
            value = {name: Decimal(str(number)) for name, number in row["published"].items()}
            mean = sum(value[lesion] for lesion in LESIONS) / 4
            if abs(mean - value["mean"]) > Decimal("0.00005"):
                assert str(mean.normalize()) in row["note"]
            else:
                assert "note" not in row

    def test_overrides_name_ids_of_the_configs(self, path):
        table = read(path)
        train, evaluate = read_config(path, "train"), read_config(path, "evaluate")
        for row in table["rows"]:
            assert {name.split("#")[0] for name in table["overrides"] | row["train"]} <= train.keys()
            assert {
                name.split("#")[0] for name in table["overrides"] | row["evaluate"]
            } <= train.keys() | evaluate.keys()


@pytest.mark.parametrize(("path", "use", "overrides"), network_cases())
def test_overridden_network_takes_the_windows(path, use, overrides):
    parser = ConfigParser(read_config(path, "train"))
    parser.parse()
    parser.update(overrides | {"widths": TINY_WIDTHS, "num_classes": 6})
    network = parser.get_parsed_content("network_def").train(use == "train")
    roi_size = parser.get_parsed_content("roi_size")
    logits = network(torch.zeros(2, 3, *roi_size))
    assert logits.shape[0] == 2
    assert tuple(logits.shape[-3:]) == (6, *roi_size)


@pytest.mark.parametrize("table", [4, 5])
def test_output_integration_is_the_best_output_of_each_lesion(table):
    # a property of the printed tables, so that a slip in copying them shows
    for lesion in LESIONS:
        best = max(published(table, f"output {head}")[lesion] for head in range(1, 5))
        assert published(table, "output integration")[lesion] == best


def test_tables_that_print_one_result_twice_agree():
    # written from the paper once more, not read from a file
    idrid = dict(
        zip(
            ("hard_exudate", "haemorrhage", "microaneurysm", "soft_exudate", "mean"),
            (0.8869, 0.7017, 0.6639, 0.7651, 0.7554),
            strict=True,
        )
    )
    ddr = dict(zip(idrid, (0.6704, 0.4867, 0.5034, 0.7456, 0.6018), strict=True))
    assert published(2, "64x64") == published(4, "output integration") == published(6, "this method") == idrid
    assert published(3, "64x64") == published(5, "output integration") == ddr
    assert published(7, "this method") != ddr, "the paper contradicts itself here"
