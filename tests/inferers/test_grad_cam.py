"""Grad-CAM against a literal version, photo by photo and layer by layer, and the network left as it was."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylesions.inferers import GradCamMaps, WholeImageInferer

LAYERS = {
    "cam_grade_1": ("grade", "shared.0"),
    "cam_grade_2": ("grade", "shared.1"),
    "cam_grade_3": ("grade", "grading"),
    "cam_segmentation_1": ("segmentation", "shared.0"),
    "cam_segmentation_2": ("segmentation", "shared.1"),
    "cam_segmentation_3": ("segmentation", "segmenting.0"),
}


class TwoTasks(nn.Module):
    """Shared blocks, one branch for each task; in-place activations as VGG16 has them."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.shared = nn.ModuleList([self.block(3, 6), self.block(6, 8)])
        self.grading = self.block(8, 7)
        self.segmenting = nn.Sequential(nn.Conv2d(8, 9, 3, padding=1), nn.ReLU(inplace=True))
        self.linear = nn.Linear(7, 5)
        self.last = nn.Conv2d(9, classes, 1)

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.Sequential:
        layers = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, nn.MaxPool2d(2))

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        features = images
        for block in self.shared:
            features = block(features)
        small = self.last(self.segmenting(features))
        return {
            "grade": self.linear(self.grading(features).mean(dim=(2, 3))),
            "segmentation": functional.interpolate(small, images.shape[2:], mode="bilinear"),
        }


def network(seed: int = 0) -> TwoTasks:
    torch.manual_seed(seed)
    made = TwoTasks()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return made.eval()


def images(number: int = 3) -> torch.Tensor:
    return torch.randn(number, 3, 24, 40, generator=torch.Generator().manual_seed(1))


def literal(photo: torch.Tensor, net: nn.Module, task: str, layer: str) -> torch.Tensor:
    """(H, W) of one photo (3, H, W), by the papers' formulas and nothing of MONAI's."""
    net = copy.deepcopy(net).eval()
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    kept: list[torch.Tensor] = []
    net.get_submodule(layer).register_forward_hook(lambda _, __, output: kept.append(output))
    logits = net(photo[None])[task][0]
    if task == "grade":
        score = logits.max()
    else:
        classes = logits.argmax(dim=0)
        places = (classes > 0).nonzero().tolist() or (classes >= 0).nonzero().tolist()
        score = sum(logits[lesion, y, x] for y, x in places for lesion in (1, 2, 3, 4))
    (activation,) = kept
    (gradient,) = torch.autograd.grad(score, activation)
    total = torch.zeros(activation.shape[2:])
    for channel in range(activation.shape[1]):
        total += gradient[0, channel].mean() * activation[0, channel].detach()
    large = functional.interpolate(total.clamp(min=0)[None, None], photo.shape[1:], mode="bilinear")[0, 0]
    return large / large.max() if large.max() > 0 else large


@pytest.mark.parametrize("seed", range(3))
def test_against_the_literal_version(seed):
    net, photos = network(seed), images()
    found = GradCamMaps(LAYERS)(photos, net)
    assert list(found) == list(LAYERS)
    shown = 0
    for name, (task, layer) in LAYERS.items():
        assert (found[name].shape, found[name].dtype) == ((3, 1, 24, 40), torch.float32)
        for index, photo in enumerate(photos):
            expected = literal(photo, net, task, layer)
            torch.testing.assert_close(found[name][index, 0], expected, rtol=1e-4, atol=1e-5)
            shown += bool(expected.max() > 0)
    assert shown > 12  # of 18; a layer may have nothing that speaks for the answer


@pytest.mark.parametrize("lesions", [False, True])
def test_pixels_of_the_segmentation_score(lesions):
    """Where no pixel is called lesion all count; else those alone, half of them here."""
    net, photos = network(), images(1)
    with torch.no_grad():
        logits = net(photos)["segmentation"]
        net.last.bias[0] += (logits[:, 1:].amax(dim=1) - logits[:, 0]).median() if lesions else 100
    called = (net(photos)["segmentation"].argmax(dim=1) > 0).float().mean()
    assert called == pytest.approx(0.5 if lesions else 0, abs=0.01)
    found = GradCamMaps({"map": ("segmentation", "shared.1")})(photos, net)["map"]
    expected = literal(photos[0], net, "segmentation", "shared.1")
    assert expected.max() == 1
    torch.testing.assert_close(found[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_a_layer_without_evidence_stays_zero():
    net = network()
    with torch.no_grad():
        net.linear.weight.zero_()
    found = GradCamMaps(LAYERS)(images(), net)
    assert found["cam_grade_1"].eq(0).all()
    assert found["cam_segmentation_1"].max() == 1


def state(net: nn.Module) -> dict[str, Any]:
    flags = {
        name: (
            module.training,
            getattr(module, "inplace", None),
            len(module._forward_hooks),
            len(module._backward_hooks),
            module._is_full_backward_hook,
        )
        for name, module in net.named_modules()
    }
    gradients = {name: (weight.grad, weight.requires_grad) for name, weight in net.named_parameters()}
    return {"flags": flags, "gradients": gradients, "weights": copy.deepcopy(net.state_dict())}


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before["flags"] == after["flags"]
    for name, (gradient, required) in before["gradients"].items():
        assert after["gradients"][name][0] is gradient
        assert after["gradients"][name][1] == required
    for name, weight in before["weights"].items():
        assert torch.equal(weight, after["weights"][name])


@pytest.mark.filterwarnings("ignore:Backward hook")
def test_the_network_is_left_as_it_was():
    net = network().train()
    net.shared[0].eval()  # a frozen block
    net.last.bias.requires_grad_(False)
    net.linear.weight.grad = torch.ones_like(net.linear.weight)
    before = state(net)
    GradCamMaps(LAYERS)(images(), net)
    assert_same(before, state(net))
    with pytest.raises(ValueError, match="does not rest"):
        GradCamMaps({"a": ("grade", "segmenting.0")})(images(), net)
    assert_same(before, state(net))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_inside_an_engine(context: Callable[[], Any]):
    net = network()
    expected = GradCamMaps(LAYERS)(images(), net)
    with context():
        photos = images() + 0  # an inference tensor there
        found = GradCamMaps(LAYERS)(photos, net)
        assert torch.is_grad_enabled() == (context is torch.enable_grad)
    for name, map_ in found.items():
        assert not map_.requires_grad
        torch.testing.assert_close(map_, expected[name])


def test_autocast_around_it_is_turned_off():
    net = network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = GradCamMaps(LAYERS)(images(), net)
    for name, expected in GradCamMaps(LAYERS)(images(), net).items():
        torch.testing.assert_close(found[name], expected, rtol=0, atol=0)


def test_nothing_large_is_kept():
    """Without a garbage collection: activations of every layer would fill a GPU within some photos."""
    net, photos = network(), images()
    explain = GradCamMaps(LAYERS)
    explain(photos, net)
    gc.collect()
    gc.disable()
    try:
        before = {id(tensor) for tensor in gc.get_objects() if isinstance(tensor, torch.Tensor)}
        found = explain(photos, net)
        new = [tensor for tensor in gc.get_objects() if isinstance(tensor, torch.Tensor) and id(tensor) not in before]
    finally:
        gc.enable()
    own = {id(map_) for map_ in found.values()}
    weights = {weight.data_ptr() for weight in net.state_dict().values()}
    assert not [tensor.shape for tensor in new if id(tensor) not in own and tensor.data_ptr() not in weights]


def test_one_pass_for_each_task(monkeypatch):
    passes = []
    forward = TwoTasks.forward
    monkeypatch.setattr(TwoTasks, "forward", lambda self, images: passes.append(1) or forward(self, images))
    GradCamMaps(LAYERS)(images(), network())
    assert len(passes) == 2


@pytest.mark.filterwarnings("ignore:Backward hook")
def test_refused():
    with pytest.raises(ValueError, match="'detection'"):
        GradCamMaps({"a": ("detection", "grading")})
    with pytest.raises(ValueError, match=r"no layer encoder\.9: choose from shared, shared\.0,"):
        GradCamMaps({"a": ("grade", "encoder.9")})(images(), network())
    with pytest.raises(ValueError, match="does not rest on the layer grading"):
        GradCamMaps({"a": ("segmentation", "grading")})(images(), network())
    with pytest.raises(ValueError, match="dict with 'grade'"):
        GradCamMaps({"a": ("grade", "0")})(images(), nn.Sequential(nn.Conv2d(3, 5, 1)))


class TestInInferer:
    def test_adds_to_the_outputs(self):
        net, photos = network(), images()
        with torch.no_grad():
            found = WholeImageInferer("bf16", explainer=GradCamMaps(LAYERS))(photos, net)
            plain = WholeImageInferer("bf16")(photos, net)
        assert list(found) == ["grade", "segmentation", *LAYERS]
        assert torch.equal(found["segmentation"], plain["segmentation"])
        for name, expected in GradCamMaps(LAYERS)(photos, net).items():
            torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-5)

    def test_networks_without_names(self):
        inferer = WholeImageInferer(explainer=GradCamMaps({"a": ("grade", "0")}))
        with pytest.raises(ValueError, match="dict of outputs, and the network gives a Tensor"):
            inferer(images(), nn.Sequential(nn.Conv2d(3, 5, 1)))

    def test_a_name_given_twice(self):
        with pytest.raises(ValueError, match="share a name"):
            WholeImageInferer(explainer=lambda images, net, outputs: {"grade": images})(images(), network())
