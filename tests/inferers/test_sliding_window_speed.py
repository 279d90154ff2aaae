"""What makes it fast: windows skipped, large windows, a network prepared once, compiled."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Event

import pytest
import torch
from torch import nn

from tinylesions.inferers import ForegroundSlidingWindowInferer, sliding_window

from .photos import lit, literal_map, monai_map, photo, small_network


class Recorder:
    """A callable that keeps the shapes of what it is called with."""

    def __init__(self, network=None) -> None:
        self.network = network or small_network()
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(windows.shape))
        return self.network(windows)

    @property
    def windows(self) -> int:
        return sum(shape[0] for shape in self.shapes)


def test_only_the_planned_windows_run():
    photos = torch.cat([photo(radius=0.2), photo(row=0.1, radius=0.1)])
    network = Recorder()
    inferer = ForegroundSlidingWindowInferer(16, 4, overlap=0.5)
    plan = inferer.plan(photos)
    inferer(photos, network)
    literal = sum(literal_map(one[None], network.network, lit(one[None])[0], (16, 16), 0.5)[1] for one in photos)
    assert network.windows == plan.windows == literal
    assert plan.skipped > plan.windows
    assert all(shape[0] <= 4 for shape in network.shapes)


def test_one_window_tells_what_the_network_gives_where_there_is_no_foreground():
    network = Recorder()
    ForegroundSlidingWindowInferer(16)(torch.zeros(1, 3, 64, 64), network)
    assert network.shapes == [(1, 3, 16, 16)]


@pytest.mark.parametrize(
    ("sw_batch_size", "roi_size", "expected"),
    [(7, 32, 7), (None, 64, 12), (None, 32, 48), (None, 1024, 1), (3, (-1, 64), 3)],
)
def test_windows_of_a_batch(sw_batch_size, roi_size, expected):
    network = Recorder(lambda windows: windows)
    photos = torch.ones(1, 3, 512, 512)
    ForegroundSlidingWindowInferer(roi_size, sw_batch_size, overlap=0)(photos, network)
    assert network.shapes[0][0] == expected


@pytest.mark.parametrize("overlap", [0, 0.5])
@pytest.mark.parametrize("grid", ["monai", "even"])
@pytest.mark.parametrize("size", [(61, 83), (5, 200), (5, 5), (130, 64)], ids=str)
def test_fast_windows_give_the_same_map_of_a_pixelwise_network(size, grid, overlap):
    network, photos = nn.Conv2d(3, 2, 1), photo(*size) + 0.1
    inferer = ForegroundSlidingWindowInferer(8, overlap=overlap, precision="float32", fast=True, grid=grid)
    torch.testing.assert_close(
        inferer(photos, network), monai_map(photos, network, 8, overlap=overlap), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("size", [(61, 83), (5, 200), (9, 16), (130, 64), (512, 513)], ids=str)
@pytest.mark.parametrize("roi_size", [(8, 8), (16, 4), (-1, 8)], ids=str)
def test_fast_windows_are_larger_and_overlap_by_a_plain_window(size, roi_size):
    network = Recorder(lambda windows: windows)
    photos = torch.ones(1, 3, *size)
    fast = ForegroundSlidingWindowInferer(roi_size, 5, overlap=0.5, fast=True)
    fast(photos, network)
    plan, plain = fast.plan(photos), ForegroundSlidingWindowInferer(roi_size, overlap=0.5).plan(photos)
    assert plan.windows <= plain.windows
    starts = (plan.grid.tops, plan.grid.lefts)
    for side, roi, large, places in zip(size, roi_size, plan.grid.roi_size, starts, strict=True):
        roi = roi if roi > 0 else side
        assert large % roi == 0, "a network that pools takes multiples of its window"
        assert roi <= large <= 8 * roi
        assert large < side + roi, "more padding than needed"
        assert all(before + large - after >= roi for before, after in pairwise(places))
    # no batch takes more memory than one of plain windows, but for a single window
    pixels = 5 * plain.grid.roi_size[0] * plain.grid.roi_size[1]
    assert all(shape[0] == 1 or shape[0] * shape[2] * shape[3] <= pixels for shape in network.shapes)


def test_fast_differs_little_from_windows_away_from_borders():
    photos, network = photo(200, 200) + 0.1, small_network()
    fast = ForegroundSlidingWindowInferer(16, fast=True, precision="float32")(photos, network)
    with torch.no_grad():
        whole = network(photos)
    # the network sees 3 pixels far: only there can a window's border be felt
    starts = ForegroundSlidingWindowInferer(16, fast=True).plan(photos).grid.tops
    near = torch.zeros(200, dtype=torch.bool)
    for start in starts:
        near[max(start - 3, 0) : start + 3] = True
        near[start + 128 - 3 : start + 128 + 3] = True
    kept = ~(near[:, None] | near)
    torch.testing.assert_close(fast[..., kept], whole[..., kept], rtol=0, atol=1e-5)


@pytest.fixture
def preparations(monkeypatch) -> list[nn.Module]:
    """Each network that was prepared."""
    prepared = []
    forward = sliding_window.WindowForward

    def counted(network, *options):
        prepared.append(network)
        return forward(network, *options)

    monkeypatch.setattr(sliding_window, "WindowForward", counted)
    return prepared


def test_an_unchanged_network_is_prepared_once(preparations):
    inferer, network = ForegroundSlidingWindowInferer(16), small_network()
    for _ in range(3):
        inferer(photo(), network)
    assert len(preparations) == 1
    inferer(photo(), small_network())
    assert len(preparations) == 2
    inferer(photo(), network)
    assert preparations[2] is network


def in_place(network: nn.Module) -> None:
    with torch.no_grad():
        network[0].weight.mul_(-2)


def through_data(network: nn.Module) -> None:
    network[0].weight.data.mul_(-2)


def new_tensor(network: nn.Module) -> None:
    network[0].weight = nn.Parameter(-network[0].weight.detach())


def loaded(network: nn.Module) -> None:
    network.load_state_dict({name: value + 1 for name, value in network.state_dict().items()})


def running_statistics(network: nn.Module) -> None:
    network.train()(photo() + 3)
    network.eval()


def optimised(kind: type[torch.optim.Optimizer], **options):
    def step(network: nn.Module) -> None:
        optimiser = kind(network.parameters(), 0.5, **options)
        network(photo()).square().mean().backward()
        optimiser.step()

    step.__name__ = f"{kind.__name__} {options}"
    return step


def other_activation(network: nn.Module) -> None:
    network[2] = nn.Tanh()


def train_mode(network: nn.Module) -> None:
    network.train()


def train_mode_of_a_layer(network: nn.Module) -> None:
    network[1].train()


CHANGES = [
    in_place,
    through_data,
    new_tensor,
    loaded,
    running_statistics,
    optimised(torch.optim.SGD),
    optimised(torch.optim.AdamW, foreach=True),
    optimised(torch.optim.AdamW, fused=True),
    other_activation,
    train_mode,
    train_mode_of_a_layer,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_network_is_noticed(change):
    photos, network = photo(), small_network()
    mask = torch.ones(1, 61, 83)
    inferer = ForegroundSlidingWindowInferer(16, 4, precision="float32")
    before = inferer(photos, network, foreground=mask)
    change(network)
    found = inferer(photos, network, foreground=mask)
    expected = monai_map(photos, network, 16)
    assert (expected - before).abs().max() > 0.01, "the change changes nothing"
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_a_network_made_in_inference_mode():
    with torch.inference_mode():
        network = small_network()
        found = ForegroundSlidingWindowInferer(16, precision="float32")(photo() + 1, network)
        expected = monai_map(photo() + 1, network, 16)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_calls_in_several_threads_do_not_mix():
    inferer = ForegroundSlidingWindowInferer(16, 1)
    started, finished = Event(), Event()

    def slow(windows: torch.Tensor) -> torch.Tensor:
        started.set()
        assert finished.wait(60)
        return windows

    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(inferer, photo(), slow)
        assert started.wait(60)
        named = inferer(photo(), lambda windows: {"name": windows})
        finished.set()
        assert isinstance(found.result(), torch.Tensor), "the other call's structure"
    assert set(named) == {"name"}


@pytest.fixture
def pretended_compiler(monkeypatch) -> list[nn.Module]:
    """What would have been compiled."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    return compiled


class Shapes(nn.Conv2d):
    """Its copies, too, write down what they are called with."""

    seen: list[tuple[int, ...]]

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(windows.shape))
        return super().forward(windows)


def test_a_compiled_network_sees_one_shape_only(pretended_compiler):
    network = Shapes(3, 2, 3, padding=1)
    Shapes.seen = []
    photos = torch.cat([photo(), photo(radius=0.1), torch.zeros(1, 3, 61, 83)])
    inferer = ForegroundSlidingWindowInferer(16, 7, overlap=0.5, precision="float32", compiled=True)
    found = inferer(photos, network)
    assert len(pretended_compiler) == 1
    assert set(Shapes.seen) == {(7, 3, 16, 16)}
    inside = lit(photos)[:, None].expand_as(found)
    torch.testing.assert_close(found[inside], monai_map(photos, network, 16, overlap=0.5)[inside], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_compiled(precision):
    photos, network = photo(), small_network()
    options = {"overlap": 0.5, "precision": precision}
    plain = ForegroundSlidingWindowInferer(16, 5, **options)(photos, network)
    found = ForegroundSlidingWindowInferer(16, 5, **options, compiled=True)(photos, network)
    tolerance = 1e-5 if precision == "float32" else 2e-2 * float(plain.abs().max())
    torch.testing.assert_close(found, plain, rtol=0, atol=tolerance)
