"""The class imbalance paper's tables on the bundle's configs: networks, losses and settings are those named."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.losses import DiceLoss, TverskyLoss
from monai.networks.nets import AttentionUnet
from torch import nn

from tinylesions.datasets import CONIC_CLASSES, MONUSAC_CLASSES, record_training
from tinylesions.losses import CrossEntropyLoss, OnlineBootstrappingLoss, PixelFocalLoss
from tinylesions.networks import DeepLabV3Plus, UNet, UNet3Plus, UNetPlusPlus, describe_network

from .configs import merge, read_json
from .nuclei_tables import BUNDLE, COMBINATIONS, EXPERIMENTS, NUMBERED, printed, table, turned

CONFIGS = BUNDLE / "configs"
CLASSES = {"conic": CONIC_CLASSES, "monusac": MONUSAC_CLASSES}
BEFORE_4_4 = (*COMBINATIONS, "4.5", "4.9")
FINAL = ("4.16", "4.18", "4.19", "4.19_monusac", "4.20", "4.21")
WEIGHTS_ONLY = ("3.2", "3.3", "4.2", "4.11")
FROM_LOGS = (*WEIGHTS_ONLY, "3.1", "4.14")

NETWORKS = {"DeepLab": DeepLabV3Plus, "DeepLabv3+": DeepLabV3Plus, "AttU-Net": AttentionUnet}
NETWORKS |= {"U-Net": UNet, "U-Net++": UNetPlusPlus, "U-Net3+": UNet3Plus}
LOSSES = {"CE": CrossEntropyLoss, "Focal": PixelFocalLoss, "Dice": DiceLoss, "Tversky": TverskyLoss}
LOSSES |= {"OB": OnlineBootstrappingLoss}


def numbered(number: str) -> dict[str, tuple[str, set[str]]]:
    """Number of a combination → its network and the losses that are ticked."""
    heads, lines = printed(NUMBERED[number])
    return {
        name: (network, {head for head, tick in zip(heads[1:], ticks, strict=True) if tick == "x"})
        for name, (network, *ticks) in lines.items()
    }


def cases(without: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(number, row, id=f"{number}-{row['name']}")
        for number in EXPERIMENTS
        if number not in without
        for row in table(number)["rows"]
    ]


def frequencies(dataset: str) -> list[float]:
    """Printed shares, in the order of the class numbers."""
    printed_shares = turned("4.11" if dataset == "conic" else "4.2")["share (%)"]
    shares = [float(printed_shares[name]) for name in CLASSES[dataset]]
    return [share / sum(shares) for share in shares]


def overridden(number: str, overrides: dict[str, Any], *configs: str) -> ConfigParser:
    """The row's config, its networks as small as can be, and the paper's frequencies."""
    experiment = table(number)
    parser = merge([str(CONFIGS / f"{name}.json") for name in ("train", *configs)])
    deeplab = {"backbone": "resnet10", "widths": [4, 4, 8, 8], "aspp_channels": 4, "low_level_channels": 4}
    small = {f"network_types#deeplabv3_plus#{name}": value for name, value in deeplab.items()}
    small |= {"widths": [2, 2, 4, 4, 4]}
    given = {"device": "cpu", "class_frequencies": frequencies(experiment["dataset"])}
    parser.update(small | given | copy.deepcopy(experiment["overrides"] | overrides))
    return parser


def trained_models(number: str) -> list[str]:
    runs = {"training": ["multi_class", "binary"], "training_multi": ["multi_class"], "training_binary": ["binary"]}
    return runs[table(number)["run"]]


def losses_of(parser: ConfigParser) -> list[nn.Module]:
    return list(parser.get_parsed_content("train#loss").loss.losses.values())


def named(number: str, row: str) -> tuple[type, set[type]]:
    """The network and the losses of a row by what the paper says of it."""
    number = number.removesuffix("_monusac")
    if number in NUMBERED:
        network, losses = numbered(number)[row.split(". ")[0]]
    elif number in BEFORE_4_4:
        network, _, names = row.partition(" / ")
        losses = set(names.split())
    elif number in ("4.19", "4.20", "4.21"):  # the best of table 4.16 and of 4.18
        conic = number == "4.20" or row == "CoNIC"
        network, losses = ("DeepLab", {"Focal", "Dice"}) if conic else ("AttU-Net", {"Dice"})
    else:
        network, losses = "AttU-Net", {"Focal" if number == "4.12" else "OB"}
    return NETWORKS[network], {LOSSES[name] for name in losses}


TRAINED = [
    case
    for case in cases(without=WEIGHTS_ONLY)
    if "weights_of" not in case.values[1] and case.values[1]["name"] != "all pixels"
]


@pytest.mark.parametrize(("number", "row"), TRAINED)
def test_trained_networks_and_losses_are_those_named(number, row):
    classes = len(CLASSES[table(number)["dataset"]])
    for model in trained_models(number):
        parser = overridden(number, row["train"] | {"model": model})
        network, losses = named(number, row["name"])
        built = parser.get_parsed_content("network_def")
        assert type(built) is network
        channels = classes if model == "multi_class" else 1
        assert built.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, channels, 32, 32)
        parts = losses_of(parser)
        assert len(parts) == len(losses)
        assert {type(part) for part in parts} == losses
        value = parser.get_parsed_content("train#loss")(
            torch.zeros(2, channels, 16, 16), torch.ones(2, 1, 16, 16, dtype=torch.uint8)
        )
        assert torch.isfinite(value)


def literal_weights(shares: list[float], scheme: int) -> list[float]:
    """Section 4.4, the background first; 1 in sum."""
    background, *nuclei = shares
    foreground = [math.exp(-math.e * share / sum(nuclei)) for share in nuclei]
    weights = {
        1: [1.0] * len(shares),
        2: [1 / (len(shares) * share) for share in shares],
        3: [math.exp(math.e * share) for share in shares],
        5: [math.exp(-math.e * background), *foreground],
        6: [0.0, *foreground],
    }[scheme]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize(("number", "row"), TRAINED)
def test_settings_are_those_of_the_section(number, row):
    for model in trained_models(number):
        parser = overridden(number, row["train"] | {"model": model})
        scheme = parser.get_parsed_content("class_weight_scheme")[model]
        hard_pixels = parser.get_parsed_content("hard_pixels")
        if number in BEFORE_4_4:
            assert (scheme, hard_pixels) == (2, 512)
        elif number in FINAL:
            assert (scheme, hard_pixels) == ({"multi_class": 5, "binary": 2}[model], 4096)
        else:
            value = 512 if row["name"] == "hard pixels" else int(row["name"].split()[-1])
            assert (scheme if number.startswith("4.12") else hard_pixels) == value
        for loss in losses_of(parser):
            if isinstance(loss, OnlineBootstrappingLoss):
                assert loss.hard_pixels == hard_pixels
            if isinstance(loss, PixelFocalLoss):
                shares = frequencies(table(number)["dataset"])
                if model == "binary":
                    shares = [shares[0], sum(shares[1:])]
                assert loss.class_weight.tolist() == pytest.approx(literal_weights(shares, scheme), abs=1e-6)


def evaluated() -> list[Any]:
    """The first row of each training's networks and of each evaluation of them: most tables have the same."""
    first: dict[str, Any] = {}
    for case in cases(without=FROM_LOGS):
        number, row = case.values
        experiment = table(number)
        by_name = {other["name"]: other for other in experiment["rows"]}
        train = by_name[row.get("weights_of", row["name"])]["train"]
        networks = {id: value for id, value in train.items() if id.startswith("architectures")}
        scores = row.get("scores", experiment["scores"])
        parts = experiment["overrides"], experiment["run"], networks, row["evaluate"], [*scores.values()]
        first.setdefault(str(parts), case)
    return list(first.values())


@pytest.mark.parametrize(("number", "row"), evaluated())
def test_evaluated_networks_are_the_trained_ones(number, row, tmp_path):
    by_name = {other["name"]: other for other in table(number)["rows"]}
    train = by_name[row.get("weights_of", row["name"])]["train"]
    for model in trained_models(number):
        training = overridden(number, train | {"model": model})
        types, architecture, shared = map(training.get_parsed_content, ("network_types", "architecture", "shared"))
        record_training(tmp_path, model, describe_network(types, architecture), **shared)
    parser = overridden(number, row["evaluate"] | {"ckpt_path": str(tmp_path)}, "evaluate")
    merged = parser.get_parsed_content("network_def")
    assert list(merged.networks) == trained_models(number)
    for model, network in merged.networks.items():
        trained = overridden(number, train | {"model": model}).get_parsed_content("network_def")
        shapes = [{name: value.shape for name, value in built.state_dict().items()} for built in (network, trained)]
        assert shapes[0] == shapes[1]
    results = parser.get_parsed_content("results")
    for score in row.get("scores", table(number)["scores"]).values():
        assert score.split(", ")[1] in results


@pytest.mark.parametrize("number", EXPERIMENTS)
def test_data(number):
    experiment = table(number)
    monusac = number.endswith("_monusac") or number in ("4.2", "4.6", "4.7", "4.10", "4.18", "4.21")
    assert experiment["dataset"] == ("monusac" if monusac else "conic")
    sizes = {id: experiment["overrides"].get(id) for id in ("layout", "spatial_size", "roi_size")}
    of_conic = {"layout": "conic", "spatial_size": None, "roi_size": None}
    assert sizes == (read_json(CONFIGS / "monusac.json") if monusac else of_conic)


def test_only_the_combined_result_is_of_both_networks():
    for number in ("4.20", "4.21"):
        plain, reused = table(number)["rows"]
        assert reused["weights_of"] == plain["name"]
        assert {score.split(", ")[1] for score in table(number)["scores"].values()} == {"multi_class"}
        assert "scores" not in plain
        assert {score.split(", ")[1] for score in reused["scores"].values()} == {"combined"}


def test_weights_of_the_binary_network_that_the_notes_quote():
    balanced = [float(turned("3.3")["weight"][name]) for name in ("background", "foreground")]
    for number in ("4.19", "4.20"):
        weights = overridden(number, {"model": "binary"}).get_parsed_content("class_weights")
        assert weights == pytest.approx(balanced, abs=1e-4)
        by_scheme_5 = overridden(number, {"model": "binary", "class_weight_scheme#binary": 5})
        for quoted in (weights, by_scheme_5.get_parsed_content("class_weights")):
            background, foreground = (f"{weight:.3f}" for weight in quoted)
            assert background in table(number)["note"]
            assert foreground in table(number)["note"]
    parser = overridden("3.3", table("3.3")["rows"][0]["train"] | {"class_weight_scheme#binary": 2})
    assert parser.get_parsed_content("class_weights") == pytest.approx(balanced, abs=1e-4)
    assert parser.get_parsed_content("classes") == ["background", "foreground"]
