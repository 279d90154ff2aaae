"""The grading and segmentation paper's tables: faithful to what is printed, their networks those that the rows name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from tinylesions.networks import SingleTask, VGG16Classifier, VGG16GradingUNet, VGG16UNet

from .configs import read_json

BUNDLE = Path(__file__).parents[2] / "monai_bundles" / "fundus_dr_grading_segmentation"
TABLES = sorted(BUNDLE.glob("experiments/*.json"))
TINY_WIDTHS = [2, 3, 4, 5, 6]
UNPRINTED = {"grade weighted F1": None, "grade AUC of hard labels": None}
COLUMNS = {
    "grading": ["grade accuracy", "grade F1", "grade AUC"],
    "segmentation": ["mean Dice", "mean IoU", "mean AUC_PR"],
}

# written from the paper in its per cent, not read from a file
PRINTED = {
    "table_2": """
        3 shared groups | 64.27±1.55 60.64±1.32 68.62±0.58
        4 shared groups | 59.42±2.56 56.19±2.37 66.12±1.17
        5 shared groups | 61.55±0.78 57.82±1.19 66.98±0.59
        """,
    "table_3": """
        3 shared groups | 51.11±0.69 36.28±0.62 60.71±0.65
        4 shared groups | 50.08±1.04 35.44±0.80 60.33±0.81
        5 shared groups | 49.14±1.08 34.49±1.11 58.45±1.16
        """,
    "table_4": """
        spatial attention | 63.11±1.62 59.43±2.19 68.35±1.76
        SE                | 62.78±2.10 59.21±2.41 68.24±1.49
        self-attention    | 64.08±2.10 61.54±2.41 69.35±1.49
        CBAM              | 65.53±1.61 61.90±2.38 69.45±1.72
        """,
    "table_5": """
        no fusion | 64.27±1.55 60.64±1.32 68.62±0.58
        EN_4      | 63.59±1.75 59.97±1.74 68.68±1.08
        DE_4      | 63.35±0.42 59.67±0.27 68.18±0.28
        EN_5      | 65.53±1.61 61.90±2.38 69.45±1.72
        """,
    "table_6": """
        self-attention    | 64.56±1.61 61.67±1.72 69.24±0.89
        spatial attention | 67.18±2.16 64.76±2.08 71.24±1.25
        """,
    "table_7": """
        none                              | 61.94±2.07 57.31±2.53 66.67±1.45
        SegNet                            | 64.27±1.55 60.64±1.32 68.62±0.58
        SegNet, DeepFusion                | 65.53±1.61 61.90±2.38 69.45±1.72
        SegNet, DeepFusion, ShallowFusion | 67.18±2.16 64.76±2.08 71.24±1.25
        """,
    "table_8": """
        none                              | 49.83±0.95 35.16±0.82 57.11±1.00
        ClsNet                            | 51.11±0.69 36.28±0.62 60.71±0.65
        ClsNet, DeepFusion                | 51.01±1.42 36.41±0.89 61.27±1.03
        ClsNet, DeepFusion, ShallowFusion | 51.45±0.72 36.92±0.43 61.82±0.65
        """,
    "table_9": """
        VGG16          | 61.94±2.07 57.31±2.53 66.67±1.45
        ResNet50       | 54.76±2.00 52.60±1.51 64.66±0.76
        ResNet152      | 54.56±2.84 52.23±3.47 64.57±2.50
        EfficientNetB0 | 60.97±4.32 58.63±4.51 68.42±2.77
        JCSNet         | 58.45±2.33 54.40±2.02 64.92±1.19
        LADEN          | 60.00±1.29 56.36±1.74 66.27±1.10
        MTUnet         | 61.55±0.78 57.82±1.19 66.98±0.59
        Chen et al.    | 62.33±1.43 58.81±2.00 67.63±1.19
        Proposed       | 67.18±2.16 64.76±2.08 71.24±1.25
        """,
    "table_10": """
        U-Net VGG16 | 49.83±0.95 35.16±0.82 57.11±1.00
        U-Net       | 48.44±0.98 33.51±0.94 58.09±1.63
        DeepLabv3+  | 46.71±0.97 32.45±0.87 48.64±1.32
        DenseUNet   | 40.24±0.87 26.79±0.56 49.10±1.17
        FCRN        | -          -          45.52
        CASENet     | -          -          48.23
        PMCNet      | 46.33±2.44 32.37±1.75 55.83±2.28
        MTUNet      | 49.14±1.08 34.49±1.11 58.45±1.16
        JCSNet      | 48.43±2.35 34.79±1.52 59.16±1.11
        LADEN       | 51.48±2.47 37.08±1.57 62.13±0.53
        Chen et al. | 47.55±2.21 33.48±1.36 58.72±0.74
        Proposed    | 51.45±0.72 36.92±0.43 61.82±0.65
        """,
    "table_11": """
        VGG16    | 73.03±0.85 68.65±0.72 56.64±1.63
        Proposed | 72.59±1.19 68.82±0.35 57.54±0.69
        """,
    "table_12": """
        U-Net VGG16 | 25.94±2.56 15.25±1.83 15.05±2.73
        Proposed    | 26.60±1.17 15.65±0.89 20.17±1.74
        """,
}

# (shared groups, deep fusion, its place, shallow fusion) of the rows with the paper's own network
NO_FUSION, DEEP, FULL = (3, None, None, None), (3, "cbam", "en_5", None), (3, "cbam", "en_5", "spatial")
PARTS = {"": NO_FUSION, ", DeepFusion": DEEP, ", DeepFusion, ShallowFusion": FULL}
MULTI_TASK = {
    **{(f"table_{n}", f"{k} shared groups"): (k, None, None, None) for n in (2, 3) for k in (3, 4, 5)},
    **{
        ("table_4", name): (3, kind, "en_5", None)
        for name, kind in (("spatial attention", "spatial"), ("SE", "se"), ("self-attention", "self"), ("CBAM", "cbam"))
    },
    ("table_5", "no fusion"): NO_FUSION,
    **{("table_5", place): (3, "cbam", place.lower(), None) for place in ("EN_4", "DE_4", "EN_5")},
    ("table_6", "self-attention"): (3, "cbam", "en_5", "self"),
    ("table_6", "spatial attention"): FULL,
    **{("table_7", f"SegNet{parts}"): network for parts, network in PARTS.items()},
    **{("table_8", f"ClsNet{parts}"): network for parts, network in PARTS.items()},
    ("table_9", "MTUnet"): (5, None, None, None),
    ("table_10", "MTUNet"): (5, None, None, None),
    **{(f"table_{number}", "Proposed"): FULL for number in (9, 10, 11, 12)},
}
VGG = {
    **{(table, "VGG16"): VGG16Classifier for table in ("table_9", "table_11")},
    ("table_7", "none"): VGG16Classifier,
    **{(table, "U-Net VGG16"): VGG16UNet for table in ("table_10", "table_12")},
    ("table_8", "none"): VGG16UNet,
}
# weights of the original networks for 1000 classes, by their own papers' implementations
PARAMETERS = {"ResNet50": 25_557_032, "ResNet152": 60_192_808, "EfficientNetB0": 5_288_548}
FEATURES = {"ResNet50": 2048, "ResNet152": 2048, "EfficientNetB0": 1280}


def schedule(name: str) -> str:
    return "segmentation" if name in ("table_3", "table_8", "table_10", "table_12") else "grading"


def rows_of(name: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in read_json(BUNDLE / "experiments" / f"{name}.json")["rows"]}


def network_of(name: str, row: str) -> nn.Module:
    """The network of a row, tiny."""
    table = read_json(BUNDLE / "experiments" / f"{name}.json")
    parser = ConfigParser(read_json(BUNDLE / "configs" / "train.json"))
    parser.parse()
    parser.update(table["overrides"] | rows_of(name)[row]["train"] | {"widths": TINY_WIDTHS})
    return parser.get_parsed_content("network_def")


def attention(fusion: nn.Module | None, networks: dict[str, nn.Module]) -> str | None:
    """The name of a fusion's attention: the one whose modules it has."""
    if fusion is None:
        return None
    kinds = [kind for kind, network in networks.items() if str(network) == str(fusion.attention)]
    assert len(kinds) == 1
    return kinds[0]


def test_all_tables_are_there():
    assert {path.stem for path in TABLES} == PRINTED.keys() | {"joint"}, "the paper has no training on both sets"


@pytest.mark.parametrize("name", PRINTED)
class TestTable:
    def test_published_values_are_the_printed_ones(self, name):
        table = read_json(BUNDLE / "experiments" / f"{name}.json")
        found = {row["name"]: row for row in table["rows"] + table.get("open", [])}
        lines = [line.split("|") for line in PRINTED[name].strip().splitlines()]
        assert [line[0].strip() for line in lines if line[0].strip() in rows_of(name)] == list(rows_of(name))
        assert found.keys() == {line[0].strip() for line in lines}
        for row, cells in lines:
            means: dict[str, float | None] = dict(UNPRINTED) if schedule(name) == "grading" else {}
            deviations = {}
            for column, cell in zip(COLUMNS[schedule(name)], cells.split(), strict=True):
                mean, _, deviation = cell.partition("±")
                means[column] = None if mean == "-" else float(Decimal(mean) / 100)
                if deviation:
                    deviations[column] = float(Decimal(deviation) / 100)
            assert found[row.strip()]["published"] == means, row
            assert found[row.strip()].get("published_std", {}) == deviations, row

    def test_settings(self, name):
        table = read_json(BUNDLE / "experiments" / f"{name}.json")
        assert table["dataset"] == "json"
        assert table["overrides"]["schedule"] == schedule(name)
        assert f"{schedule(name)}.json" in table["note"]
        assert "--seeds 5" in table["note"]
        assert ("table 6" in table["note"]) == (name == "table_4"), "the text's slip"
        assert ("table 9" in table["note"]) == (name == "table_10"), "the text's slip"
        elsewhere = {"table_11": "eyepacs", "table_12": "ddr"}
        assert table.get("evaluation_dataset") == elsewhere.get(name)

    def test_training_and_evaluation_have_one_network(self, name):
        for row in rows_of(name).values():
            assert row["train"] == row["evaluate"]

    def test_every_row_has_a_network_of_its_own(self, name):
        trained = [row["train"] for row in rows_of(name).values()]
        assert all(trained.count(overrides) == 1 for overrides in trained)


def test_tables_that_print_one_result_twice_agree():
    def published(number: int, row: str) -> Any:
        found = rows_of(f"table_{number}")[row]
        return found["published"], found["published_std"]

    assert published(2, "3 shared groups") == published(5, "no fusion") == published(7, "SegNet")
    assert published(4, "CBAM") == published(5, "EN_5") == published(7, "SegNet, DeepFusion")
    full = "SegNet, DeepFusion, ShallowFusion"
    assert published(6, "spatial attention") == published(7, full) == published(9, "Proposed")
    assert published(2, "5 shared groups") == published(9, "MTUnet")
    assert published(7, "none") == published(9, "VGG16") != published(11, "VGG16")
    assert published(3, "3 shared groups") == published(8, "ClsNet")
    assert published(3, "5 shared groups") == published(10, "MTUNet")
    assert published(8, "none") == published(10, "U-Net VGG16") != published(12, "U-Net VGG16")
    assert published(8, "ClsNet, DeepFusion, ShallowFusion") == published(10, "Proposed")


def test_every_row_is_of_a_known_network():
    rows = {(name, row) for name in PRINTED for row in rows_of(name)}
    monai = {*(("table_9", row) for row in PARAMETERS), ("table_10", "U-Net")}
    assert rows == MULTI_TASK.keys() | VGG.keys() | monai


class TestNetwork:
    @pytest.mark.parametrize(("name", "row"), MULTI_TASK)
    def test_the_paper_s_own_has_the_row_s_parts(self, name, row):
        shared, deep, place, shallow = MULTI_TASK[name, row]
        network = network_of(name, row)
        assert isinstance(network, VGG16GradingUNet)
        groups = network.group_names
        assert [group in groups["segmentation"] for group in groups["grade"]] == [n < shared for n in range(5)]
        named = {
            kind: VGG16GradingUNet(widths=TINY_WIDTHS, deep_fusion=kind, deep_fusion_place=place or "en_5")
            for kind in ("spatial", "se", "self", "cbam")
        }
        attentions = {kind: each.deep_fusion.attention for kind, each in named.items()}
        assert attention(network.deep_fusion, attentions) == deep
        assert place is None or network.place == place
        named = {kind: VGG16GradingUNet(widths=TINY_WIDTHS, shallow_fusion=kind) for kind in ("spatial", "self")}
        assert attention(network.shallow_fusion, {k: n.shallow_fusion.attention for k, n in named.items()}) == shallow
        logits = network.for_tasks("all").eval()(torch.zeros(1, 3, 32, 48))
        assert {task: tuple(each.shape) for task, each in logits.items()} == {
            "grade": (1, 5),
            "segmentation": (1, 5, 32, 48),
        }

    @pytest.mark.parametrize(("name", "row"), VGG)
    def test_a_single_task_s_vgg16(self, name, row):
        network = network_of(name, row)
        assert isinstance(network, SingleTask)
        assert isinstance(network.network, VGG[name, row])
        task, shape = ("grade", (1, 5)) if VGG[name, row] is VGG16Classifier else ("segmentation", (1, 5, 32, 48))
        assert rows_of(name)[row]["train"]["tasks"] == [task]
        logits = network.for_tasks("all").eval()(torch.zeros(1, 3, 32, 48))
        assert {key: tuple(each.shape) for key, each in logits.items()} == {task: shape}
        convolutions = [m for m in network.network.encoder.modules() if isinstance(m, nn.Conv2d)]
        assert [c.out_channels for c in convolutions] == [2, 2, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6]

    @pytest.mark.parametrize("row", PARAMETERS)
    def test_monai_s_classifiers_are_the_original_networks(self, row):
        network = network_of("table_9", row)
        head = FEATURES[row] + 1
        assert sum(p.numel() for p in network.parameters()) == PARAMETERS[row] - 995 * head
        deepest: list[torch.Size] = []
        for module in network.modules():
            if isinstance(module, nn.AdaptiveAvgPool2d):
                module.register_forward_hook(lambda _module, inputs, _output: deepest.append(inputs[0].shape))
        with torch.inference_mode():
            logits = network.for_tasks("all").eval()(torch.zeros(1, 3, 64, 96))
        assert {task: tuple(each.shape) for task, each in logits.items()} == {"grade": (1, 5)}
        assert deepest[-1] == (1, FEATURES[row], 2, 3), "a 32nd of the photo's size"
        assert rows_of("table_9")[row]["train"]["tasks"] == ["grade"]

    def test_monai_s_u_net_has_the_original_s_widths(self):
        network = network_of("table_10", "U-Net")
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        widths = [64, 128, 256, 512, 1024, 512, 256, 128, 64]
        assert [c.out_channels for c in convolutions] == [width for width in widths for _ in range(2)]
        with torch.inference_mode():
            logits = network.for_tasks("all").eval()(torch.zeros(1, 3, 32, 48))
        assert {task: tuple(each.shape) for task, each in logits.items()} == {"segmentation": (1, 5, 32, 48)}
        assert rows_of("table_10")["U-Net"]["train"]["tasks"] == ["segmentation"]
