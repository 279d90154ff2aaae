from __future__ import annotations

import copy

import pytest
import torch
from monai.networks.nets import AttentionUnet, BasicUNet, DynUNet, UNet
from torch import nn

from tinylesions.inferers.network_preparation import prepare_network, weights_version
from tinylesions.networks import VGG16UNetPlusPlus

from .photos import photo, small_network

CPU = torch.device("cpu")


def stirred(network: nn.Module) -> nn.Module:
    """Norms whose absence shows, and double precision, in which folding is exact."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in ((module.running_mean, -0.5), (module.running_var, 0.5)):
                if values is not None:
                    nn.init.uniform_(values, low, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.double().eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def prepared_copy(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    example = torch.rand(1, 3, 32, 48, dtype=next(network.parameters()).dtype)
    with torch.no_grad():
        return prepare_network(network, CPU, dtype, example)


def assert_same_function(network: nn.Module, channels: int = 3) -> nn.Module:
    """The prepared network, once it is found to compute the same; any dtype but float32 is folded for."""
    x = torch.rand(2, channels, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    prepared = prepared_copy(network, torch.float64)
    with torch.no_grad():
        expected = copy.deepcopy(network)(x)
        torch.testing.assert_close(prepared(x), expected, rtol=1e-9, atol=1e-9)
    return prepared


NETWORKS = {
    "UNet++": lambda: VGG16UNetPlusPlus(widths=(4, 8, 8, 16, 16)),
    "UNet++, all heads": lambda: VGG16UNetPlusPlus(widths=(4, 8, 8, 16, 16), head="all"),
    "UNet": lambda: UNet(2, 3, 2, (4, 8, 8), (2, 2), num_res_units=2, norm="batch"),
    "BasicUNet": lambda: BasicUNet(2, 3, 2, (4, 4, 8, 8, 8, 4), norm=("batch", {})),
    "DynUNet": lambda: DynUNet(2, 3, 2, (3, 3, 3), (1, 2, 2), (2, 2), (4, 8, 8), norm_name="batch", res_block=True),
    "AttentionUnet": lambda: AttentionUnet(2, 3, 2, (4, 8, 8), (2, 2)),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_real_networks_compute_the_same(make):
    torch.manual_seed(0)
    network = stirred(make())
    assert_same_function(network)


def test_every_norm_of_the_first_bundles_network_is_folded():
    assert norms(prepared_copy(stirred(VGG16UNetPlusPlus(widths=(4, 8, 8, 16, 16))), torch.bfloat16)) == 0


class Standardised(nn.Conv2d):
    """A convolution that computes its weights anew."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight / self.weight.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, padding=1)


class Scaled(nn.BatchNorm2d):
    """A norm that does more."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 3 * super().forward(x)


class Residual(nn.Sequential):
    """A sequence that goes its own way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self[1](torch.relu(self[0](x)))


class UsedAlone(nn.Module):
    """A sequence whose layers are used within another, and by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3))
        self.both = nn.Sequential(self.first, nn.BatchNorm2d(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) + self.both(x)


def shared_convolution() -> nn.Module:
    shared = nn.Conv2d(3, 3, 3, padding=1)
    return nn.Sequential(shared, nn.BatchNorm2d(3), shared, nn.ReLU(), shared, nn.BatchNorm2d(3))


def shared_norm() -> nn.Module:
    shared = nn.BatchNorm2d(3)
    return nn.Sequential(nn.Conv2d(3, 3, 3), shared, nn.Conv2d(3, 3, 3), shared)


def shared_activation() -> nn.Module:
    shared = nn.ReLU()
    return nn.Sequential(nn.Conv2d(3, 4, 3), shared, nn.Conv2d(4, 4, 3), shared, nn.BatchNorm2d(4))


def hooked() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network[0].register_forward_hook(lambda module, given, output: output.relu())
    return network


def parametrised() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4))


HARD = {
    "convolution, norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
    "no bias": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)),
    "no scale": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
    "grouped": lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 2, 2), nn.BatchNorm2d(4)),
    "transposed, grouped": lambda: nn.Sequential(nn.ConvTranspose2d(3, 6, 2, 2, groups=3), nn.BatchNorm2d(6)),
    "reflected": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)),
    "two norms": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)),
    "norm first": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
    "activation between": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())),
    "no running statistics": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    "convolution's own forward": lambda: nn.Sequential(Standardised(3, 4, 3), nn.BatchNorm2d(4)),
    "norm's own forward": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Scaled(4)),
    "sequence's own forward": lambda: Residual(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)),
    "shared convolution": shared_convolution,
    "shared norm": shared_norm,
    "shared activation": shared_activation,
    "sequence used alone": UsedAlone,
    "hook": hooked,
    "spectral norm": parametrised,
    "spectral norm by a hook": lambda: nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)),
}


@pytest.mark.parametrize("make", HARD.values(), ids=HARD)
def test_whatever_stands_in_a_sequence_computes_the_same(make):
    torch.manual_seed(0)
    assert_same_function(stirred(make()))


def test_frozen_norms_of_a_network_in_training():
    network = stirred(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).train()
    network[1].eval()
    assert_same_function(network)


def test_norms_in_train_mode_are_kept():
    network = stirred(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).train()
    assert norms(prepared_copy(network, torch.float64)) == 1


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_network_itself_stays_as_it_is(dtype, training):
    network = small_network().train(training)
    before = copy.deepcopy(network.state_dict())
    modules, strides = list(network.modules()), [weight.stride() for weight in network.parameters()]
    prepared = prepared_copy(network, dtype)
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        prepared(photo())
    assert list(network.modules()) == modules
    assert network.training == training
    assert all(weight.requires_grad for weight in network.parameters())
    assert [weight.stride() for weight in network.parameters()] == strides
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_copy_lies_and_is_typed_as_the_device_likes():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1))
    prepared = prepared_copy(network, torch.bfloat16)
    assert [parameter.dtype for parameter in prepared[2].parameters()] == [torch.bfloat16] * 2
    assert prepared[3].weight.dtype == torch.float32
    assert prepared[2].weight.is_contiguous(memory_format=torch.channels_last)
    plain = prepared_copy(network, torch.float32)
    assert {parameter.dtype for parameter in plain.parameters()} == {torch.float32}
    assert plain[2].weight.is_contiguous(memory_format=torch.channels_last)


def test_the_version_stays_while_nothing_changes():
    network = small_network()
    before = weights_version(network)
    with torch.no_grad():
        network(photo())
    assert weights_version(network) == before
    assert weights_version(network.train()) != before
