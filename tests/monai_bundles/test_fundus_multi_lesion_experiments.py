"""The multi-lesion paper's tables: faithful to what is printed, and their networks take the windows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from tinylesions.datasets import LESIONS

from .configs import read_json

BUNDLE = Path(__file__).parents[2] / "monai_bundles" / "fundus_multi_lesion_segmentation"
TABLES = sorted(BUNDLE.glob("experiments/*.json"))
TINY_WIDTHS = [2, 2, 2, 2, 2]


def published(table: int, row: str) -> dict[str, float]:
    rows = read_json(BUNDLE / "experiments" / f"table_{table}.json")["rows"]
    return next(r["published"] for r in rows if r["name"] == row)


def network_cases() -> list[Any]:
    """Every way in which a row trains or evaluates a network."""
    return [
        pytest.param(use, table["overrides"] | row[use], id=f"{path.stem}-{row['name']}-{use}")
        for path in TABLES
        for table in [read_json(path)]
        for row in table["rows"]
        for use in ("train", "evaluate")
    ]


def test_all_tables_are_there():
    assert [path.name for path in TABLES] == [f"table_{number}.json" for number in range(2, 8)]


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
class TestTable:
    def test_what_is_scored(self, path):
        table = read_json(path)
        assert table["metric"] == "average_precision"
        assert "note" in table
        assert "scores" not in table

    def test_published_values(self, path):
        table = read_json(path)
        for row in table["rows"] + table.get("open", []):
            assert row["published"].keys() == {*LESIONS, "mean"}
            assert all(0 < value < 1 for value in row["published"].values())

    def test_a_note_tells_where_the_printed_mean_is_wrong(self, path):
        table = read_json(path)
        for row in table["rows"] + table.get("open", []):
            value = {name: Decimal(str(number)) for name, number in row["published"].items()}
            mean = sum(value[lesion] for lesion in LESIONS) / 4
            if abs(mean - value["mean"]) > Decimal("0.00005"):
                assert str(mean.normalize()) in row["note"]
            else:
                assert "note" not in row


@pytest.mark.parametrize(("use", "overrides"), network_cases())
def test_overridden_network_takes_the_windows(use, overrides):
    parser = ConfigParser(read_json(BUNDLE / "configs" / "train.json"))
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
