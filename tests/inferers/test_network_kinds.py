"""Networks of many kinds, prepared and run by the inferer."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel

from tinylesions.inferers import ForegroundSlidingWindowInferer

from .photos import lit, monai_map, photo, small_network

INFERRED = {
    "in train mode": lambda network: network.train(),
    "data parallel": DataParallel,
    "scripted": torch.jit.script,
    "traced": lambda network: torch.jit.trace(network, photo()),
    "scripted and frozen": lambda network: torch.jit.freeze(torch.jit.script(network)),
    "compiled": lambda network: torch.compile(network, backend="eager"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrap", INFERRED.values(), ids=INFERRED)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_networks_of_any_kind_are_inferred(wrap, precision):
    network = wrap(small_network())
    inferer = ForegroundSlidingWindowInferer(16, 4, overlap=0.5, precision=precision)
    found = inferer(photo() + 1, network)
    assert (inferer(photo() + 1, network) == found).all()
    expected = monai_map(photo() + 1, network, 16, overlap=0.5)
    tolerance = 1e-5 if precision == "float32" else 3e-2 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


class Cached(nn.Module):
    """Keeps its last features, as networks that show their attention do."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.features = self.network(x)
        return self.features


def caching() -> nn.Module:
    network = Cached()
    network(photo())
    return network


def locked() -> nn.Module:
    network = small_network()
    network.lock = threading.Lock()
    return network


@pytest.mark.parametrize("make", [caching, locked])
def test_a_network_that_cannot_be_copied_is_refused_in_plain_words(make):
    with pytest.raises(TypeError, match="network cannot be copied"):
        ForegroundSlidingWindowInferer(16)(photo(), make())


@pytest.mark.parametrize("make", [caching, locked])
def test_a_network_within_a_function_is_called_as_it_is(make):
    network = make()
    found = ForegroundSlidingWindowInferer(16, precision="float32")(photo() + 1, lambda windows: network(windows))
    torch.testing.assert_close(found, monai_map(photo() + 1, network, 16), rtol=0, atol=1e-5)


def test_linear_layers_and_other_norms_in_reduced_precision():
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 8, 3, padding=1)
            self.layers = nn.Sequential(nn.InstanceNorm2d(8), nn.GELU(), nn.GroupNorm(2, 8), nn.Conv2d(8, 8, 1))
            self.linear = nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(self.layers(self.convolution(x)).movedim(1, -1)).movedim(-1, 1)

    torch.manual_seed(0)
    network = Mixed().eval()
    found = ForegroundSlidingWindowInferer(16, precision="bf16")(photo(), network)
    expected = monai_map(photo(), network, 16)
    inside = lit(photo())[:, None].expand_as(found)
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=5e-2 * float(expected.abs().max()))


def test_a_black_photo_does_not_decide_on_the_folding():
    """In a black window, as in the corner of a photo, nearly all networks are the same."""
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, affine=False)
    nn.init.constant_(norm.running_mean, -0.5)
    convolution.register_forward_hook(lambda module, given, output: output.relu())
    network = nn.Sequential(convolution, norm).eval()
    inferer = ForegroundSlidingWindowInferer(16, precision="bf16")
    inferer(torch.zeros(1, 3, 32, 32), network)
    found = inferer(photo() + 1, network)
    expected = monai_map(photo() + 1, network, 16)
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-2 * float(expected.abs().max()))


def test_a_network_in_training_whose_windows_shrink_to_a_pixel():
    network = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.BatchNorm2d(4), nn.Upsample(scale_factor=8)).train()
    found = ForegroundSlidingWindowInferer(8, 11, precision="bf16")(photo(64, 64) + 1, network)
    assert found.shape == (1, 4, 64, 64)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_network_whose_weights_are_reduced_already(precision, dtype):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)).to(dtype)
    found = ForegroundSlidingWindowInferer(16, precision=precision)(photo() + 1, network)
    expected = monai_map(photo() + 1, copy.deepcopy(network).float(), 16)
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-2 * float(expected.abs().max()))
