from __future__ import annotations

import pytest
import torch
from torch import nn

from tinylesions.inferers import ForegroundSlidingWindowInferer, resolve_precision
from tinylesions.inferers.precision import PRECISIONS, autocast

from .photos import lit, photo, small_network

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize(("name", "dtype"), PRECISIONS.items())
def test_a_name_is_taken_at_its_word(name, dtype, device):
    assert resolve_precision(name, device) == dtype


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": False, "avx512_f": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_on_a_processor(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve_precision("auto", CPU) == dtype


def test_auto_on_a_processor_without_onednn_is_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert resolve_precision("auto", CPU) == torch.float32


def test_auto_where_torch_cannot_tell_is_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("auto", CPU) == torch.float32


@pytest.mark.parametrize(("supported", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_a_gpu(monkeypatch, supported, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported or including_emulation)
    assert resolve_precision("auto", GPU) == dtype


def test_auto_on_another_device_is_float32():
    assert resolve_precision("auto", torch.device("mps")) == torch.float32


def test_an_unknown_precision_is_refused():
    for call in (lambda: resolve_precision("half", CPU), lambda: ForegroundSlidingWindowInferer(8, precision="half")):
        with pytest.raises(ValueError, match=r"bf16.*not 'half'"):
            call()


@pytest.mark.parametrize(("name", "dtype"), PRECISIONS.items())
@pytest.mark.parametrize("around", [True, False])
def test_autocast_replaces_the_one_around_it(name, dtype, around):
    x, weight = torch.rand(2, 3, 8, 8), torch.rand(4, 3, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=around):
        with autocast(CPU, PRECISIONS[name]):
            assert nn.functional.conv2d(x, weight).dtype == dtype
        assert nn.functional.conv2d(x, weight).dtype == (torch.bfloat16 if around else torch.float32)


@pytest.mark.parametrize(("name", "dtype"), PRECISIONS.items())
def test_the_network_runs_in_the_precision_and_the_map_is_float32(name, dtype):
    seen = set()
    convolution = nn.Conv2d(3, 2, 3, padding=1)

    def network(windows: torch.Tensor) -> torch.Tensor:
        output = convolution(windows)
        seen.add(output.dtype)
        return output

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ForegroundSlidingWindowInferer(16, precision=name)(photo(), network)
    assert seen == {dtype}
    assert found.dtype == torch.float32


@pytest.mark.parametrize(("name", "error"), [("bf16", 2e-2), ("fp16", 3e-3)])
def test_reduced_precision_is_near_float32(name, error):
    photos, network = photo(), small_network()
    exact = ForegroundSlidingWindowInferer(16, overlap=0.5, precision="float32")(photos, network)
    found = ForegroundSlidingWindowInferer(16, overlap=0.5, precision=name)(photos, network)
    inside = lit(photos)[:, None].expand_as(exact)
    difference = (found - exact)[inside].abs()
    assert 0 < difference.max() < error * exact[inside].abs().max()
