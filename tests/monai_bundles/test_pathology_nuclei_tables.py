"""The class imbalance paper's tables: faithful to what is printed, and what their notes say of it is so."""

from __future__ import annotations

from typing import Any

import pytest

from .nuclei_tables import COMBINATIONS, EXPERIMENTS, NUMBERED, PRINTED, printed, table, turned

DATA_SETS = ("CoNIC", "MoNuSAC")
SCORES = {"Dice": "mean Dice", "mIoU": "mean IoU", "mAP": "mean precision", "mean recall": "mean recall"}


def published(number: str) -> dict[str, dict[str, float | None]]:
    return {row["name"]: row["published"] for row in table(number)["rows"]}


def figures(cells: list[str], heads: list[str]) -> dict[str, float]:
    return {head: float(cell) for head, cell in zip(heads, cells, strict=True)}


def shares(cells: dict[str, str], label: str = "") -> dict[str, Any]:
    """What is printed as per cent."""
    return {f"{name}{label}": pytest.approx(float(cell) / 100, rel=1e-12) for name, cell in cells.items()}


class TestPublished:
    def test_all_tables_are_there(self):
        pairs = {"4.12", "4.13", "4.19"}
        numbers = PRINTED.keys() - {"4.14 pixels", *NUMBERED.values()}
        assert EXPERIMENTS.keys() == numbers | {f"{number}_monusac" for number in pairs}
        for number in EXPERIMENTS:
            assert table(number)["paper"].endswith(f"table {number.removesuffix('_monusac')}")

    @pytest.mark.parametrize("number", [*COMBINATIONS, "4.20", "4.21"])
    def test_scores(self, number):
        heads, lines = printed(number)
        columns = [SCORES[head] for head in heads]
        given = {name: row for name, row in published(number).items() if any(row.values())}
        assert given == {name: figures(cells, columns) for name, cells in lines.items()}
        assert list(published(number))[: len(lines)] == list(lines)
        unprinted = {name: row for name, row in published(number).items() if name not in lines}
        assert bool(unprinted) == (number == "4.3")
        assert all(row == dict.fromkeys(columns) for row in unprinted.values())

    def test_table_4_3_is_the_whole_grid(self):
        networks = {name.partition(" / ")[0] for name in printed("4.3")[1]}
        losses = {name.partition(" / ")[2] for name in printed("4.4")[1]}
        assert len(networks) == len(losses) == 5
        rows = published("4.3")
        assert len(rows) == 25
        assert rows.keys() == {f"{network} / {loss}" for network in networks for loss in losses}
        printed_elsewhere = rows.keys() & printed("4.4")[1].keys() - printed("4.3")[1].keys()
        assert {name.partition(" / ")[0] for name in printed_elsewhere} == {"DeepLab", "AttU-Net"}
        assert "those of DeepLab and AttU-Net are printed in table 4.4" in table("4.3")["note"]

    @pytest.mark.parametrize("number", NUMBERED)
    def test_scores_of_numbered_combinations(self, number):
        heads, lines = printed(number)
        columns = [SCORES[head] for head in heads]
        rows = {name.split(". ")[0]: values for name, values in published(number).items()}
        assert rows == {name: figures(cells, columns) for name, cells in lines.items()}

    @pytest.mark.parametrize("number", ["4.5", "4.9"])
    def test_scores_of_each_class(self, number):
        heads, lines = printed(number)
        columns = [f"{head} IoU" for head in heads]
        assert published(number) == {name: figures(cells, columns) for name, cells in lines.items()}

    @pytest.mark.parametrize(("number", "name"), [("4.12", "scheme {}"), ("4.13", "n = {}")])
    @pytest.mark.parametrize("suffix", ["", "_monusac"])
    def test_scores_of_two_data_sets(self, number, name, suffix):
        heads, lines = printed(number)
        half = slice(3, 6) if suffix else slice(0, 3)
        columns = [SCORES[head] for head in heads[half]]
        assert published(number + suffix) == {
            name.format(row): figures(cells[half], columns)
            for row, cells in lines.items()
            if cells[half] != ["-", "-", "-"]
        }

    @pytest.mark.parametrize("data_set", DATA_SETS)
    def test_scores_of_the_binary_network(self, data_set):
        heads, lines = printed("4.19")
        columns = [{**SCORES, "Dice": "foreground Dice", "mIoU": "foreground IoU"}.get(head, head) for head in heads]
        number = "4.19" if data_set == "CoNIC" else "4.19_monusac"
        assert published(number) == {data_set: figures(lines[data_set], columns)}

    def test_weights(self):
        for number in ("3.2", "3.3"):
            (weights,) = turned(number).values()
            assert published(number) == {"balanced": {name: float(value) for name, value in weights.items()}}
        (frequencies,) = turned("4.2").values()
        assert published("4.2") == {"frequency": shares(frequencies)}
        columns = turned("4.11")
        frequencies = columns.pop("share (%)")
        schemes = {head: {name: float(value) for name, value in cells.items()} for head, cells in columns.items()}
        assert published("4.11") == {**schemes, "frequency": shares(frequencies)}

    def test_hard_pixels(self):
        heads, lines = printed("3.1")
        assert published("3.1") == {
            name: shares(dict(zip(heads, cells, strict=True)), " share") for name, cells in lines.items()
        }
        counts = turned("4.14 pixels")
        assert published("4.14") == {
            f"n = {number}": {
                **shares(cells, " share"),
                **{f"{name} pixels": int(value) for name, value in counts[number].items()},
            }
            for number, cells in turned("4.14").items()
        }

    def test_printed_counts_are_the_shares_of_nine_tenths_of_the_tiles(self):
        tiles = round(0.9 * 4981)
        assert f"each of {tiles} tiles" in table("4.14")["note"]
        for row in table("4.14")["rows"]:
            for name in ("neutrophil", "plasma", "eosinophil"):
                pixels, share = (row["published"][f"{name} {label}"] for label in ("pixels", "share"))
                # the shares have three digits or more
                assert pixels / row["train"]["hard_pixels"] / tiles == pytest.approx(share, rel=2e-3)

    def test_printed_columns_sum_to_one(self):
        for cells in (*turned("4.14").values(), turned("4.11")["share (%)"], turned("4.2")["share (%)"]):
            assert 99.9949 < sum(map(float, cells.values())) < 100.0051


class TestNotes:
    """What the notes quote is what the printed tables give."""

    @staticmethod
    def mean_iou(number: str, name: str) -> str:
        cells = [float(cell) for cell in printed(number)[1][name]]
        return f"{sum(cells) / len(cells):.4f}"

    @pytest.mark.parametrize(
        ("note", "number", "names"),
        [
            ("4.3", "4.9", ["AttU-Net / Dice"]),
            ("4.4", "4.5", ["DeepLab / CE", "AttU-Net / CE"]),
            ("4.5", "4.5", ["DeepLab / CE", "DeepLab / Focal", "AttU-Net / CE", "AttU-Net / Focal"]),
            ("4.8", "4.9", ["DeepLab / Dice Focal", "AttU-Net / Dice Focal"]),
            ("4.9", "4.9", ["DeepLab / Dice", "AttU-Net / Dice"]),
        ],
    )
    def test_means_of_the_classes_are_quoted(self, note, number, names):
        for name in names:
            assert self.mean_iou(number, name) in table(note)["note"], name

    def test_mean_iou_of_table_4_3_is_the_mean_of_table_4_9(self):
        for name in ("DeepLab / Dice", "AttU-Net / Dice"):
            assert float(self.mean_iou("4.9", name)) == pytest.approx(published("4.3")[name]["mean IoU"], abs=1e-4)
            assert abs(float(self.mean_iou("4.9", name)) - published("4.8")[name]["mean IoU"]) > 0.1

    def test_dice_of_table_4_9(self):
        cells = [float(cell) for cell in printed("4.9")[1]["DeepLab / Dice"]]
        assert f"{sum(2 * iou / (1 + iou) for iou in cells) / 7:.3f}" in table("4.3")["note"]

    @pytest.mark.parametrize("number", ["4.19", "4.19_monusac"])
    def test_the_binary_network_s_scores_fit_the_foreground(self, number):
        (scores,) = published(number).values()

        def iou(precision: float, recall: float) -> float:
            return 1 / (1 / precision + 1 / recall - 1)

        background = scores["background precision"], scores["background recall"]
        precision, recall = 2 * scores["mean precision"] - background[0], 2 * scores["mean recall"] - background[1]
        mean = (iou(*background) + iou(precision, recall)) / 2
        for value in (iou(*background), precision, recall, iou(precision, recall), mean):
            assert f"{value:.3f}" in table(number)["note"]
        assert abs(iou(precision, recall) - scores["foreground IoU"]) < 0.05 < mean - scores["foreground IoU"]

    def test_balanced_weights_of_the_rounded_shares(self):
        inverse = {name: 1 / float(share) for name, share in turned("4.11")["share (%)"].items()}
        for name in ("neutrophil", "eosinophil"):
            assert f"{inverse[name] / sum(inverse.values()):.4f}" in table("3.2")["note"]
