from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from torch import nn

from tinylesions.inferers import WholeImageInferer, whole_image

from .photos import photo, small_network

IMAGES = photo()


def logits(network: Callable[..., Any] | None = None, images: torch.Tensor = IMAGES) -> torch.Tensor:
    with torch.no_grad():
        return SimpleInferer()(images, network or small_network())


def test_float32_is_the_plain_call():
    network = small_network()
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which is replaced
        found = WholeImageInferer("float32")(IMAGES, network)
    torch.testing.assert_close(found, network(IMAGES.to(memory_format=torch.channels_last)), rtol=0, atol=0)
    torch.testing.assert_close(found, network(IMAGES), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("precision", "error"), [("bf16", 2e-2), ("fp16", 3e-3)])
def test_reduced_precision_is_near_float32(precision, error):
    expected = logits()
    with torch.no_grad():
        found = WholeImageInferer(precision)(IMAGES, small_network())
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < error * expected.abs().max()


def test_the_network_gets_plain_tensors_channels_last():
    seen = []
    WholeImageInferer()(MetaTensor(IMAGES), lambda images: seen.append(images) or images)
    (images,) = seen
    assert type(images) is torch.Tensor
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, IMAGES)


def test_gradients_are_those_of_the_plain_call():
    ours, plain = small_network(), small_network()
    theirs, images = IMAGES.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    WholeImageInferer("float32")(images, ours).square().mean().backward()
    plain(theirs).square().mean().backward()
    torch.testing.assert_close(images.grad, theirs.grad, rtol=1e-4, atol=1e-7)
    for mine, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6)
        assert mine.grad.abs().max() > 0


def test_gradients_in_bfloat16():
    network, plain = small_network(), small_network()
    WholeImageInferer("bf16")(IMAGES, network).square().mean().backward()
    plain(IMAGES).square().mean().backward()
    for mine, other in zip(network.parameters(), plain.parameters(), strict=True):
        assert mine.grad.dtype == torch.float32
        assert 0 < (mine.grad - other.grad).norm() < 0.05 * other.grad.norm()


class TestFloat16InTraining:
    def test_is_refused_naming_what_works(self):
        with pytest.raises(ValueError, match=r"gradient scaler: train with bf16"):
            WholeImageInferer("fp16")(IMAGES, small_network())

    def test_auto_is_float32_and_float16_without_gradients(self, monkeypatch):
        seen = []
        network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Identity())
        network[1].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].dtype))
        monkeypatch.setattr(whole_image, "resolve_precision", lambda precision, _: torch.float16)  # an old GPU
        WholeImageInferer("auto")(IMAGES, network)
        with torch.no_grad():
            WholeImageInferer("auto")(IMAGES, network)
        assert seen == [torch.float32, torch.float16]


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"bf16.*not 'half'"):
        WholeImageInferer("half")


class TestMetaTensor:
    @pytest.fixture
    def images(self) -> MetaTensor:
        return MetaTensor(IMAGES, meta={"filename_or_obj": "eye.jpg"}, applied_operations=[{"class": "Resize"}])

    def test_operations_reach_the_output_without_gradients(self, images):
        with torch.no_grad():
            found = WholeImageInferer("float32")(images, small_network())
        assert found.applied_operations == images.applied_operations
        assert found.meta["filename_or_obj"] == "eye.jpg"
        torch.testing.assert_close(found.as_tensor(), logits(), rtol=1e-5, atol=1e-6)

    def test_training_goes_on_with_plain_tensors(self, images):
        found = WholeImageInferer("float32")(images, small_network())
        assert type(found) is torch.Tensor
        assert found.requires_grad


@pytest.mark.parametrize(
    ("wrap", "values"),
    [
        (lambda a, b: (a, b), lambda found: list(found)),
        (lambda a, b: {"lesions": a, "grade": b}, lambda found: [found["lesions"], found["grade"]]),
    ],
    ids=["tuple", "dict"],
)
def test_several_outputs(wrap, values):
    network = small_network()

    def both(images: torch.Tensor, scale: float, shift: float = 0) -> Any:
        output = network(images)
        return wrap(output, scale * output.mean((2, 3)) + shift)

    with torch.no_grad():
        found = WholeImageInferer("bf16")(IMAGES, both, 2.0, shift=1.0)
        expected = WholeImageInferer("bf16")(IMAGES, network)
    assert type(found) is type(wrap(0, 0))
    first, second = values(found)
    assert first.dtype == second.dtype == torch.float32
    assert torch.equal(first, expected)
    torch.testing.assert_close(second, 2 * expected.mean((2, 3)) + 1, rtol=2e-2, atol=2e-2)


class Greedy(nn.Module):
    """Runs out of memory in its first call, or wherever it is on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == 1 or images.is_cuda:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nand more")
        return self.network(images)


class TestMemory:
    @pytest.fixture
    def _gpu(self, monkeypatch):
        """The CPU plays a GPU's part."""
        monkeypatch.setattr(whole_image, "_is_accelerator", lambda device: True)

    @pytest.mark.usefixtures("_gpu")
    def test_goes_on_on_the_cpu(self, caplog):
        network = Greedy()
        with torch.no_grad(), caplog.at_level(logging.WARNING):
            found = WholeImageInferer("float32")(IMAGES, network)
        assert network.calls == 2
        assert caplog.messages == ["CUDA out of memory. Tried to allocate 20 GiB: going on on the CPU."]
        torch.testing.assert_close(found, logits(), rtol=1e-5, atol=1e-6)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
    def test_from_a_gpu_and_back(self):
        network = Greedy().cuda()
        with torch.no_grad():
            found = WholeImageInferer("float32")(IMAGES.cuda(), network)
        assert {found.device.type, *(weights.device.type for weights in network.parameters())} == {"cuda"}
        torch.testing.assert_close(found.cpu(), logits(), rtol=1e-5, atol=1e-6)

    def test_a_cpu_has_no_other_place_to_go(self):
        with pytest.raises(torch.OutOfMemoryError), torch.no_grad():
            WholeImageInferer()(IMAGES, Greedy())

    @pytest.mark.usefixtures("_gpu")
    def test_training_does_not_move(self):
        network = Greedy()
        with pytest.raises(torch.OutOfMemoryError):
            WholeImageInferer()(IMAGES, network)
        assert network.calls == 1
