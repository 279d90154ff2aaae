from __future__ import annotations

import contextlib
import logging

import pytest
import torch
from torch import nn

from tinylesions.inferers import ForegroundSlidingWindowInferer, window_forward
from tinylesions.inferers.window_forward import WindowForward

from .photos import lit, monai_map, photo, small_network

CPU = torch.device("cpu")
WINDOWS = torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CPU_MESSAGE = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"


class Greedy(nn.Module):
    """Runs out of memory for more than so many windows."""

    def __init__(self, most: int, error: Exception | None = None) -> None:
        super().__init__()
        self.network = small_network()
        self.most = most
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore about it")

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        if len(windows) > self.most:
            raise self.error
        return self.network(windows)


def test_outputs_go_by_key_or_place():
    network = small_network()
    forward = WindowForward(lambda windows: network(windows), CPU, "float32")
    with torch.no_grad():
        expected = network(WINDOWS)
        for function, keys in (
            (lambda x: expected, [0]),
            (lambda x: (expected, expected), [0, 1]),
            (lambda x: [expected], [0]),
            (lambda x: {"b": expected, "a": expected}, ["b", "a"]),
        ):
            forward = WindowForward(function, CPU, "float32")
            assert list(forward(WINDOWS)) == keys
            assert all(torch.equal(output, expected) for output in forward(WINDOWS).values())


def test_windows_lie_channels_last():
    seen = []
    WindowForward(lambda x: seen.append(x.is_contiguous(memory_format=torch.channels_last)) or x, CPU)(WINDOWS)
    assert seen == [True]


@pytest.mark.parametrize("error", [None, RuntimeError(CPU_MESSAGE)], ids=["gpu", "cpu"])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("most", [1, 3, 4, 9])
def test_smaller_batches_when_memory_runs_out(monkeypatch, caplog, most, compiled, error):
    monkeypatch.setattr(torch, "compile", lambda network: network)
    network = Greedy(most, error).eval()
    forward = WindowForward(network, CPU, "float32", compiled)
    with caplog.at_level(logging.WARNING), torch.no_grad():
        found = forward(WINDOWS)[0]
        torch.testing.assert_close(found, network.network(WINDOWS), rtol=0, atol=1e-5)
    tried = [10]
    while tried[-1] > most:
        tried.append(tried[-1] // 2)
    assert [record.getMessage().split(": ")[-1] for record in caplog.records] == [
        f"going on with {count} windows at a time." for count in tried[1:]
    ]
    assert "memory" in caplog.records[0].getMessage()
    assert "\n" not in caplog.text.strip().splitlines()[0]

    caplog.clear()
    with torch.no_grad():
        forward(WINDOWS)
    assert not caplog.records, "the smaller batch was forgotten"


def test_the_map_is_the_same_when_memory_runs_out(caplog):
    network = Greedy(3).eval()
    inferer = ForegroundSlidingWindowInferer(16, 16, overlap=0.5, mode="gaussian", precision="float32")
    found = inferer(photo(), network)
    inside = lit(photo())[:, None].expand_as(found)
    expected = monai_map(photo(), network.network, 16, overlap=0.5, mode="gaussian")
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1e-5)
    assert "going on with 2 windows at a time" in caplog.text


def test_one_window_too_many_on_the_cpu_is_one_clear_sentence():
    with pytest.raises(RuntimeError, match=r"^CUDA out of memory.*single window\.$") as raised:
        ForegroundSlidingWindowInferer(16)(photo(), Greedy(0))
    assert "\n" not in str(raised.value)


def test_other_errors_are_not_swallowed():
    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        ForegroundSlidingWindowInferer(16)(photo(), Greedy(0, RuntimeError("shapes do not fit")))


def test_a_single_window_too_large_for_its_device_goes_on_on_the_cpu(monkeypatch, caplog):
    """PyTorch's "meta" device, which computes nothing, stands for a GPU."""

    class Heavy(nn.Conv2d):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            if windows.is_meta:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(windows)

    monkeypatch.setattr(window_forward, "autocast", lambda *_: contextlib.nullcontext())
    network = Heavy(3, 2, 3, padding=1)
    inferer = ForegroundSlidingWindowInferer(16, 4, overlap=0.5, sw_device="meta", precision="float32")
    found = inferer(photo(), network)
    inside = lit(photo())[:, None].expand_as(found)
    expected = monai_map(photo(), network, 16, overlap=0.5)
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1e-5)
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(": going on ")[1] for message in messages] == [
        "with 2 windows at a time.",
        "with 1 windows at a time.",
        "on the CPU.",
    ]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("after", [0, 1, 5])
def test_the_move_to_the_cpu_in_the_middle_of_a_photo(after):
    class Heavy(nn.Conv2d):
        calls = 0

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            Heavy.calls += 1
            if windows.is_cuda and Heavy.calls > after:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(windows)

    network = Heavy(3, 2, 3, padding=1)
    expected = monai_map(photo(), nn.Conv2d.forward.__get__(network), 16, overlap=0.5)
    for device in ("cpu", "cuda"):
        Heavy.calls = 0
        inferer = ForegroundSlidingWindowInferer(
            16, 1, overlap=0.5, sw_device="cuda", device=device, precision="float32", mode="gaussian"
        )
        found = inferer(photo(), network).cpu()
        inside = lit(photo())[:, None].expand_as(found)
        torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1e-2)


def test_a_callable_cannot_be_moved_and_says_so(monkeypatch):
    monkeypatch.setattr(window_forward, "autocast", lambda *_: contextlib.nullcontext())
    forward = WindowForward(Greedy(0).forward, torch.device("meta"), "float32")
    with pytest.raises(RuntimeError, match="single window"):
        forward(WINDOWS)


def test_an_incomplete_batch_is_filled_up_for_a_compiled_network(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network: network)
    seen = []

    class Network(nn.Identity):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            seen.append(len(windows))
            return {"same": windows}

    forward = WindowForward(Network(), CPU, "float32", compiled=True)
    for count in (4, 2, 1, 4):
        assert torch.equal(forward(WINDOWS[:count])["same"], WINDOWS[:count])
    assert seen == [4, 4, 4, 4]
