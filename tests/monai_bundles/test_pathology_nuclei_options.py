"""Each option of the class imbalance paper's program (table 5.1) as an override of the nuclei bundle."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.losses import DiceLoss, TverskyLoss
from monai.networks.nets import AttentionUnet
from torch import nn

from tinylesions.apps.workflows import run_workflow
from tinylesions.losses import CrossEntropyLoss, OnlineBootstrappingLoss, PixelFocalLoss
from tinylesions.networks import DeepLabV3Plus, UNet, UNet3Plus, UNetPlusPlus

from .configs import merge
from .nuclei import BUNDLE, CLASSES, MODELS, SMALL, SPLITS, STAND_INS, conic_arrays, evaluate, save_weights, training
from .octa import sentence

pytestmark = pytest.mark.filterwarnings("ignore:no training pixel is of")

ARCHITECTURES = {
    "unet": UNet,
    "unet_plus_plus": UNetPlusPlus,
    "unet_3_plus": UNet3Plus,
    "attention_unet": AttentionUnet,
    "deeplabv3_plus": DeepLabV3Plus,
}
LOSSES = {
    "cross_entropy": CrossEntropyLoss,
    "focal": PixelFocalLoss,
    "dice": DiceLoss,
    "tversky": TverskyLoss,
    "online_bootstrapping": OnlineBootstrappingLoss,
}
CHANNELS = {"multi_class": len(CLASSES), "binary": 1}
FEW = {"widths": [2, 2, 4, 4, 4]}


def parsed(id: str, data: Path, folder: Path, **overrides: Any) -> Any:
    """What an id of the training is, with the small preset's networks."""
    parser: ConfigParser = merge(BUNDLE.config_files("train", "cpu"))
    places = {"dataset_dir": str(data), "output_dir": str(folder / "output"), "ckpt_dir": str(folder / "models")}
    parser.update({**SMALL, **FEW, **places, **{key.replace("__", "#"): value for key, value in overrides.items()}})
    return parser.get_parsed_content(id)


def parts(loss: nn.Module) -> dict[str, nn.Module]:
    """Name → loss of a sum of losses."""
    return dict(loss.loss.losses.items())


def batch(channels: int, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, size, size, generator=generator)
    return images, torch.randint(max(channels, 2), (2, 1, size, size), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_networks_are_chosen_for_each_model(conic_phantoms, tmp_path, model, architecture):
    (other,) = set(MODELS) - {model}
    chosen = {f"architectures#{model}": architecture, f"architectures#{other}": "unet", "losses": {model: [*LOSSES]}}
    for asked_for, expected in ((model, ARCHITECTURES[architecture]), (other, UNet)):
        network = parsed("network_def", conic_phantoms, tmp_path, **chosen, model=asked_for)
        assert type(network) is expected
        images, _ = batch(CHANNELS[asked_for])
        with torch.inference_mode():
            assert network.eval()(images).shape == (2, CHANNELS[asked_for], 32, 32)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_network_learns_from_each_loss(conic_phantoms, tmp_path, model, architecture):
    """And from all of them in sum, which is what they are one by one."""
    network = parsed("network_def", conic_phantoms, tmp_path, model=model, architecture=architecture).train()
    images, labels = batch(CHANNELS[model], 64)
    values = {}
    for names in (*([name] for name in LOSSES), list(LOSSES)):
        loss = parsed("train#loss", conic_phantoms, tmp_path, model=model, losses={model: names}, hard_pixels=50)
        assert {name: type(part) for name, part in parts(loss).items()} == {name: LOSSES[name] for name in names}
        network.zero_grad()
        torch.manual_seed(0)  # of a network that drops some features
        value = loss(network(images), labels)
        value.backward()
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert value.isfinite()
        assert value > 0
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert sum(bool(gradient.any()) for gradient in gradients) > 0.6 * len(list(network.parameters()))
        values["+".join(names)] = value.item()
    *single, total = values.values()
    assert total == pytest.approx(sum(single), rel=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_unet_3_plus_is_supervised_at_every_level(conic_phantoms, tmp_path, model):
    chosen = {"model": model, "architecture": "unet_3_plus", "losses": {model: ["focal", "dice"]}}
    network, loss = (parsed(id, conic_phantoms, tmp_path, **chosen) for id in ("network_def", "train#loss"))
    images, labels = batch(CHANNELS[model], 64)
    outputs = network.train()(images)
    assert outputs.shape == (2, 5, CHANNELS[model], 64, 64)
    of_levels = [sum(part(outputs[:, level], labels) for part in parts(loss).values()) for level in range(5)]
    assert loss(outputs, labels).item() == pytest.approx(torch.stack(of_levels).mean().item(), rel=1e-5)
    assert len({value.item() for value in of_levels}) == 5


@pytest.mark.parametrize("model", MODELS)
def test_regions_are_of_the_classes(conic_phantoms, tmp_path, model):
    """Dice and Tversky over the pixels of the whole batch, the mean of all classes, or of the foreground alone."""
    chosen = {"model": model, "losses": {model: ["dice", "tversky"]}, "tversky_alpha": 0.2, "tversky_beta": 0.9}
    losses = parts(parsed("train#loss", conic_phantoms, tmp_path, **chosen))
    _, labels = batch(CHANNELS[model])
    labels[1, :, :16] = 0  # the two images differ
    logits = torch.randn(2, CHANNELS[model], 32, 32, generator=torch.Generator().manual_seed(3))
    found = logits.softmax(1).double() if model == "multi_class" else logits.sigmoid().double()
    classes = range(7) if model == "multi_class" else [1]
    expected: dict[str, list[torch.Tensor]] = {"dice": [], "tversky": []}
    for channel, number in enumerate(classes):
        p, y = found[:, channel], (labels[:, 0] == number).double()
        both, extra, missed = (p * y).sum(), (p * (1 - y)).sum(), ((1 - p) * y).sum()
        expected["dice"].append(1 - 2 * both / (p.sum() + y.sum()))
        expected["tversky"].append(1 - both / (both + 0.2 * extra + 0.9 * missed))
    for name, values in expected.items():
        assert losses[name](logits, labels).item() == pytest.approx(torch.stack(values).mean().item(), rel=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_weights_of_the_focal_loss(conic_phantoms, tmp_path, model):
    truth = conic_arrays(conic_phantoms)[1][SPLITS["training"]]
    counts = np.bincount(truth.ravel(), minlength=len(CLASSES))
    if model == "binary":
        counts = np.array([counts[0], counts[1:].sum()])
    shares = counts / counts.sum()
    of_nuclei = shares[1:] / shares[1:].sum()
    balanced = np.divide(1, shares, where=shares > 0, out=np.zeros(len(shares)))
    expected = {
        1: np.ones(len(shares)),
        2: balanced,
        3: np.exp(np.e * shares),
        4: np.exp(-np.e * shares),
        5: np.exp(-np.e * np.array([shares[0], *of_nuclei])),
        6: np.array([0, *np.exp(-np.e * of_nuclei)]),
    }
    chosen = {"model": model, "losses": {model: ["focal"]}, "gamma": 0.0}
    logits = torch.zeros(1, CHANNELS[model], 8, 8)
    for scheme, weights in expected.items():
        loss = parsed("train#loss", conic_phantoms, tmp_path, **chosen, class_weight_scheme={model: scheme})
        for number, weight in enumerate(weights / weights.sum()):
            # where all classes are equally probable and γ is 0, the loss is the class's weight, up to a logarithm
            value = loss(logits, torch.full((1, 1, 8, 8), number)).item() / np.log(len(weights))
            assert value == pytest.approx(weight, abs=1e-6), (scheme, number)


def test_numbers(conic_phantoms, tmp_path):
    chosen = {"max_epochs": 7, "batch_size": 3, "learning_rate": 0.025, "architecture": "unet", "device": "meta"}
    trainer, loader, optimizer = (
        parsed(id, conic_phantoms, tmp_path, **chosen) for id in ("train#trainer", "train#dataloader", "optimizer")
    )
    assert trainer.state.max_epochs == 7
    assert trainer.data_loader.batch_size == loader.batch_size == 3
    assert [len(group["id"]) for group in loader] == [3, 3, 2]
    assert type(optimizer) is torch.optim.Adam
    for used in (optimizer, trainer.optimizer):
        assert [group["lr"] for group in used.param_groups] == [0.025]
    assert {parameter.device.type for parameter in trainer.network.parameters()} == {"meta"}
    assert trainer.state.device == torch.device("meta")


def test_optimiser(conic_phantoms, tmp_path):
    chosen = {"optimizer_name": "RMSprop", "learning_rate": 0.5, "architecture": "unet"}
    optimizer = parsed("train#trainer", conic_phantoms, tmp_path, **chosen).optimizer
    assert type(optimizer) is torch.optim.RMSprop
    assert optimizer.defaults["lr"] == 0.5


def test_hard_pixels(conic_phantoms, tmp_path):
    loss = parsed(
        "train#loss", conic_phantoms, tmp_path, losses={"multi_class": ["online_bootstrapping"]}, hard_pixels=9
    )
    loss(torch.zeros(2, 7, 8, 8), torch.zeros(2, 1, 8, 8))
    (part,) = parts(loss).values()
    assert part.chosen_counts.tolist() == [18, 0, 0, 0, 0, 0, 0]


class TestSplits:
    def split_of(self, data: Path, folder: Path, **overrides: Any) -> dict[str, list[int]]:
        """Places in the arrays of what a training and a validation read, and of what is left for the test."""
        found = {
            "training": parsed("train#dataset", data, folder, **overrides).data,
            "validation": parsed("validate#dataset", data, folder, **overrides).data,
        }
        found["test"] = [item for item in parsed("datalist", data, folder, **overrides) if item["split"] == "test"]
        return {split: sorted(item["index"] for item in items) for split, items in found.items()}

    def test_by_source(self, conic_phantoms, tmp_path):
        assert self.split_of(conic_phantoms, tmp_path) == SPLITS

    def test_shares(self, conic_phantoms, tmp_path):
        found = self.split_of(conic_phantoms, tmp_path, validation_share=0.5, test_share=0.25)
        assert {split: len(places) for split, places in found.items()} == {"training": 4, "validation": 8, "test": 4}
        assert found["test"] == SPLITS["test"], "another share to validate on leaves the test patches as they are"

    def test_at_random(self, conic_phantoms, tmp_path):
        shares = {"validation_share": 0.25, "test_share": 0.125}
        found = self.split_of(conic_phantoms, tmp_path, split_rule="random", **shares)
        assert {split: len(places) for split, places in found.items()} == {"training": 10, "validation": 4, "test": 2}
        assert sorted(place for places in found.values() for place in places) == list(range(16))
        sources = Counter(place // 4 for place in found["validation"])
        assert len(sources) > 1, "patches of one source on both sides"

    def test_of_nine_to_one_as_the_paper_s(self, conic_phantoms, tmp_path):
        """It has no validation tiles besides the test tiles."""
        chosen = {"split_rule": "random", "validation_share": 0, "test_share": 0.1, "validation_split": "test"}
        found = self.split_of(conic_phantoms, tmp_path, **chosen)
        assert found["validation"] == found["test"]
        assert {split: len(places) for split, places in found.items()} == {"training": 14, "validation": 2, "test": 2}

    @pytest.mark.parametrize(
        "overrides", [{"split_rule": "date"}, {"test_share": 0.95}, {"losses": {"multi_class": ["ce"]}}]
    )
    def test_what_there_is_not(self, conic_phantoms, tmp_path, overrides):
        with pytest.raises(RuntimeError) as raised:
            run_workflow(training(conic_phantoms, tmp_path, {**STAND_INS, **overrides}, "run"))
        assert next(iter(overrides)) in sentence(raised.value) or "there is no loss 'ce'" in sentence(raised.value)
        assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    ("run_id", "config", "trained"),
    [
        ("training_multi", [], ["multi_class"]),
        ("training_binary", [], ["binary"]),
        ("run", [], ["multi_class"]),
        ("run", ["train_binary"], ["binary"]),
        ("training", [], ["binary", "multi_class"]),
    ],
)
def test_which_models_are_trained(conic_phantoms, tmp_path, run_id, config, trained):
    run_workflow(training(conic_phantoms, tmp_path, {**STAND_INS, "max_epochs": 1}, run_id, config))
    weights = {path.name for path in (tmp_path / "models").glob("*.pt")}
    assert weights == {f"{model}{kind}.pt" for model in trained for kind in ("", "_checkpoint")}
    assert sorted(path.name for path in (tmp_path / "output").iterdir() if path.is_dir()) == trained


def test_other_tiles_than_those_of_the_training_are_scored(conic_phantoms, tmp_path):
    """A folder of its own for the test: all of its patches."""
    chosen = {**STAND_INS, "validation_share": 0, "test_share": 0, "split": "training", "save_predictions": True}
    evaluate(conic_phantoms, tmp_path, save_weights(tmp_path / "models"), chosen)
    assert len(list((tmp_path / "predictions").iterdir())) == 16
