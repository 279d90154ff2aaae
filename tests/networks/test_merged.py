"""A network for each lesion as one network: outputs, names, and the files it is made of."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from tinylesions.datasets.errors import InputError
from tinylesions.handlers import save_state
from tinylesions.networks import (
    DeepLabV3Plus,
    MergedNetworks,
    SAMAdapter,
    UNet,
    UNetPlusPlus,
    find_checkpoints,
    load_checkpoint,
    load_checkpoints,
)

from .tester import NetworkTester, image, stir_batch_norms
from .unet_reference import open_bottlenecks

WIDTHS = (4, 8, 8)
CODES = ["IRMA", "NPA", "NV"]


class TestMergedNetworks(NetworkTester):
    train_shape = eval_shape = (2, 4, 32, 48)
    divisor = 4

    def make(self) -> nn.Module:
        nested = open_bottlenecks(UNetPlusPlus(3, widths=WIDTHS, channel_attention=True))
        return MergedNetworks({"IRMA": nested, "NPA": UNet(3, 2, WIDTHS), "NV": UNet(3, widths=WIDTHS)})


def unet(seed: int, widths: tuple[int, ...] = WIDTHS) -> UNet:
    torch.manual_seed(seed)
    return stir_batch_norms(UNet(widths=widths)).eval()


def merged_of(*names: str, widths: tuple[int, ...] = WIDTHS) -> MergedNetworks:
    return MergedNetworks({name: unet(100 + index, widths) for index, name in enumerate(names)}).eval()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Weights of every lesion, each of a seed of its own, among what else a training leaves."""
    for seed, code in enumerate(CODES):
        torch.save(unet(seed).state_dict(), tmp_path / f"{code}.pt")
        (tmp_path / f"{code}_checkpoint.pt").touch()
    return tmp_path


@torch.no_grad()
@pytest.mark.parametrize("order", [CODES, CODES[::-1], ["NV"]])
def test_outputs_are_the_single_networks_in_their_order(order):
    torch.manual_seed(0)
    networks = {
        "NPA": SAMAdapter(
            1, 1, embed_dim=8, depth=2, num_heads=2, global_attn_indexes=(1,), image_size=64, neck_channels=8
        ),
        "IRMA": DeepLabV3Plus(1, 1, "resnet10", widths=(4, 4, 8, 8), aspp_channels=8, low_level_channels=4),
        "NV": UNetPlusPlus(1, 2, widths=WIDTHS, channel_attention=True),
    }
    x = image(64, 64, channels=1)
    alone = {name: network.eval()(x) for name, network in networks.items()}
    before = x.clone()
    out = MergedNetworks({name: networks[name] for name in order}).eval()(x)
    assert torch.equal(x, before)
    parts = out.split([alone[name].shape[1] for name in order], dim=1)
    for name, part in zip(order, parts, strict=True):
        torch.testing.assert_close(part, alone[name])


def test_parameters_are_named_by_the_lesion():
    names = list(unet(0).state_dict())
    expected = [f"networks.{code}.{name}" for code in ("NV", "IRMA") for name in names]
    assert list(merged_of("NV", "IRMA").state_dict()) == expected


@pytest.mark.parametrize("as_text", [False, True])
def test_all_checkpoints_are_found_in_the_order_asked_for(folder, as_text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for order in (CODES, CODES[::-1]):
            found = find_checkpoints(os.fspath(folder) if as_text else folder, order)
            assert list(found.items()) == [(code, folder / f"{code}.pt") for code in order]


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (["NPA"], "has no NPA.pt: NPA is left out"),
        (["IRMA", "NV"], "has no IRMA.pt and no NV.pt: IRMA and NV are left out"),
    ],
)
def test_missing_checkpoints_are_named_once(folder, missing, sentence):
    for code in missing:
        (folder / f"{code}.pt").unlink()
    with pytest.warns(UserWarning, match="left out") as caught:
        found = find_checkpoints(folder, CODES)
    assert [str(warning.message) for warning in caught] == [f"{folder} {sentence}"]
    assert caught[0].filename == __file__
    assert list(found) == [code for code in CODES if code not in missing]


def test_a_single_file_stands_for_itself(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_checkpoints(folder / "NPA.pt", CODES) == {"NPA": folder / "NPA.pt"}
        assert find_checkpoints(os.fspath(folder / "NV.pt"), CODES) == {"NV": folder / "NV.pt"}


def test_a_string_is_one_name(folder):
    for path in (folder, folder / "NPA.pt"):
        assert find_checkpoints(path, "NPA") == {"NPA": folder / "NPA.pt"}
    assert find_checkpoints(folder / "NV.pt", "NPA-NV") == {}  # not the letters of it


FILES = "IRMA.pt, NPA.pt, NV.pt"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("empty", f"{{}} holds no weights, none of {FILES}: train first, or name their folder."),
        ("nowhere", "there are no weights at {}: train first, or name their folder."),
        ("NPA_checkpoint.pt", f"{{}} does not say by its name whose weights it holds: call it one of {FILES}."),
    ],
)
def test_no_weights_at_all(folder, name, sentence):
    (folder / "empty").mkdir()
    (folder / "empty" / "NV.pt").mkdir()  # a folder is no file of weights
    path = folder / name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_checkpoints(path, CODES)
    assert found == {}
    with pytest.raises(InputError, match=f"^{re.escape(sentence.format(path))}$"):
        load_checkpoints(merged_of(*CODES), found, path)


@torch.no_grad()
@pytest.mark.parametrize("names", [CODES, ["NV", "IRMA"], ["NPA"]])
def test_each_network_gets_its_own_weights(folder, names):
    merged = merged_of(*names)
    assert load_checkpoints(merged, find_checkpoints(folder, names), folder) is merged
    x = image(channels=1)
    expected = torch.cat([unet(CODES.index(name))(x) for name in names], dim=1)
    torch.testing.assert_close(merged(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("other", [UNetPlusPlus(widths=WIDTHS), UNet(widths=(8, 8, 16))], ids=["kind", "widths"])
def test_weights_of_another_network_are_named(folder, other):
    torch.save(other.state_dict(), folder / "NPA.pt")
    with pytest.raises(InputError, match=f"^{re.escape(str(folder / 'NPA.pt'))} does not fit UNet: "):
        load_checkpoints(merged_of(*CODES), find_checkpoints(folder, CODES), folder)


@pytest.mark.parametrize("names", [["IRMA", "NPA"], ["IRMA"], ["IRMA", "NPA", "NV", "MA"]])
def test_networks_and_files_are_of_the_same_lesions(folder, names):
    """A network that no file is for would answer at random."""
    sentence = f"there are networks of {', '.join(names)}, but weights of IRMA, NPA, NV"
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        load_checkpoints(merged_of(*names), find_checkpoints(folder, CODES), folder)


@torch.no_grad()
def test_saved_as_one_and_loaded_again(folder):
    merged = load_checkpoints(merged_of(*CODES), find_checkpoints(folder, CODES), folder)
    path = folder / "new" / "model.pt"
    save_state(merged.state_dict(), path)
    restored = load_checkpoint(merged_of(*CODES), path)
    assert torch.equal(restored(image(channels=1)), merged(image(channels=1)))
    assert [found.name for found in path.parent.iterdir()] == ["model.pt"]
    with pytest.raises(InputError, match=r"does not fit MergedNetworks: .* such as networks\.NPA"):
        load_checkpoint(merged_of("IRMA", "NV"), path)
