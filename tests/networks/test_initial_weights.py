"""What a training starts from: the trained network where lesions are shared, its own weights elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from tinylesions.datasets import InputError
from tinylesions.networks import EfficientNetUNet, UNetPlusPlus, save_half, start_from

KNOWN = ("microaneurysm", "haemorrhage", "hard_exudate", "soft_exudate")
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "efficientnet_unet": partial(EfficientNetUNet, widths=(2, 2, 2, 2)),
    "unet_plus_plus": partial(UNetPlusPlus, in_channels=3, widths=(2, 2, 4)),
}


def drawn(build: Callable[..., nn.Module], outputs: int, seed: int) -> nn.Module:
    """A network whose biases and statistics have drifted from those of a new one, too."""
    torch.manual_seed(seed)
    network = build(out_channels=outputs)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith(("bias", "running_mean")):
                value.add_(torch.randn_like(value) / 10)
    return network.eval()


def outputs(network: nn.Module) -> torch.Tensor:
    photo = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network(photo)[0]


def copy_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.fixture
def build() -> Callable[..., nn.Module]:
    return NETWORKS["unet_plus_plus"]


@pytest.fixture
def trained(build, tmp_path) -> tuple[nn.Module, Path]:
    return save_drawn(build, tmp_path)


def save_drawn(build: Callable[..., nn.Module], folder: Path) -> tuple[nn.Module, Path]:
    network = drawn(build, len(KNOWN), 1)
    torch.save(network.state_dict(), folder / "model.pt")
    return network, folder / "model.pt"


MIXED = ("haemorrhage", "drusen", "microaneurysm")


@pytest.mark.parametrize(
    ("architecture", "lesions"),
    [
        ("efficientnet_unet", MIXED),
        *(("unet_plus_plus", lesions) for lesions in (KNOWN, KNOWN[::-1], KNOWN[3:], MIXED)),
    ],
)
def test_lesions_that_both_know(tmp_path, architecture, lesions):
    build = NETWORKS[architecture]
    trained = save_drawn(build, tmp_path)
    network = drawn(build, len(lesions), 2)
    fresh = copy_of(network)
    found = start_from(network, build(out_channels=len(KNOWN)), trained[1], list(lesions), list(KNOWN))
    assert found is network
    before, after = outputs(trained[0]), outputs(network)
    assert not torch.allclose(before[0], before[1], atol=1e-3)
    for place, lesion in enumerate(lesions):
        if lesion in KNOWN:
            torch.testing.assert_close(after[place], before[KNOWN.index(lesion)])
            continue
        assert not any(torch.allclose(after[place], other, atol=1e-3) for other in before)
        for name in ("head.weight", "head.bias"):  # what an output is made of lies together
            group = len(fresh[name]) // len(lesions)
            own = slice(place * group, (place + 1) * group)
            assert torch.equal(network.state_dict()[name][own], fresh[name][own])


def test_no_lesion_in_common(build, trained):
    network = drawn(build, 1, 2)
    fresh = copy_of(network)
    start_from(network, build(out_channels=len(KNOWN)), trained[1], ["drusen"], KNOWN)
    for name, value in network.state_dict().items():
        expected = fresh if name.startswith("head.") else trained[0].state_dict()
        assert torch.equal(value, expected[name]), name


def test_weights_in_float16(build, trained, tmp_path):
    save_half(trained[0], tmp_path / "half.pt")
    network = start_from(drawn(build, 4, 2), build(out_channels=4), tmp_path / "half.pt", KNOWN, KNOWN)
    assert all(value.dtype == torch.float32 for value in network.parameters())
    torch.testing.assert_close(outputs(network), outputs(trained[0]), rtol=0.01, atol=0.01)


class WithMore(UNetPlusPlus):
    """A network that has all that `UNetPlusPlus` has, and something else."""

    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        self.besides = nn.Linear(1, 1)


@pytest.mark.parametrize(
    "other",
    [
        NETWORKS["efficientnet_unet"],
        partial(UNetPlusPlus, in_channels=3, widths=(2, 4, 4)),
        partial(UNetPlusPlus, in_channels=3, widths=(2, 2)),
        partial(WithMore, in_channels=3, widths=(2, 2, 4)),
    ],
    ids=["other architecture", "other widths", "fewer levels", "more parts"],
)
def test_a_network_of_another_kind(tmp_path, other):
    network = NETWORKS["unet_plus_plus"](out_channels=4)
    before = copy_of(network)
    torch.save(other(out_channels=4).state_dict(), tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt is of another kind of network than UNetPlusPlus: start from"):
        start_from(network, other(out_channels=4), tmp_path / "model.pt", KNOWN, KNOWN)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_that_are_not_there(build, tmp_path):
    with pytest.raises(InputError, match="there are no weights at"):
        start_from(build(out_channels=4), build(out_channels=4), tmp_path / "model.pt", KNOWN, KNOWN)
