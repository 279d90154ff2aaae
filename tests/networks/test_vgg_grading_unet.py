from __future__ import annotations

from typing import Any

import pytest
import torch

from tinylesions.networks import VGG16, VGG16Classifier, VGG16GradingUNet, VGG16UNet
from tinylesions.networks.vgg_grading_unet import DEEP_FUSION_PLACES

from .tester import WIDTHS, NetworkTester, image, stir_batch_norms


def build(**options: Any) -> VGG16GradingUNet:
    torch.manual_seed(0)
    return stir_batch_norms(VGG16GradingUNet(widths=WIDTHS, **{"tasks": "all", **options})).eval()


def alone(**options: Any) -> VGG16GradingUNet:
    """Without any fusion."""
    return build(deep_fusion=None, shallow_fusion=None, **options)


class GradingUNetTester(NetworkTester):
    train_shape = eval_shape = (2, 5, 32, 48)
    options: dict[str, Any]

    def make(self):
        return VGG16GradingUNet(widths=WIDTHS, **self.options)

    def test_training_reaches_every_parameter(self, network):
        network = network.for_tasks("all")
        sum(logits.square().mean() for logits in network(image()).values()).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.ndim == 1 or parameter.grad.any(), name


class TestVGG16GradingUNet(GradingUNetTester):
    options = {}  # noqa: RUF012  read only


class TestWithoutFusion(GradingUNetTester):
    options = {"deep_fusion": None, "shallow_fusion": None, "shared_groups": 5, "batch_norm": False}  # noqa: RUF012


class TestDecoderFusion(GradingUNetTester):
    options = {"deep_fusion": "se", "deep_fusion_place": "de_4", "shallow_fusion": "self", "shared_groups": 4}  # noqa: RUF012


def renamed(weights: dict[str, torch.Tensor], **names: str) -> dict[str, torch.Tensor]:
    """The entries below each module on the left, under the name on the right."""
    return {
        new + name.removeprefix(old): value
        for old, new in names.items()
        for name, value in weights.items()
        if name.startswith(f"{old}.")
    }


def layers(network: VGG16GradingUNet, groups: list[str]) -> dict[str, torch.Tensor]:
    """The weights of VGG16 in these groups under torchvision's names."""
    weights, found = network.state_dict(), {}
    names = list(VGG16(widths=WIDTHS).state_dict())
    values = [value for group in groups for name, value in weights.items() if name.startswith(f"{group}.")]
    found.update(zip(names, values, strict=True))
    return found


@pytest.mark.parametrize("shared", [3, 4, 5])
def test_without_fusion_it_is_the_two_single_networks(shared):
    """Each task, taken for itself, is `VGG16UNet` and `VGG16Classifier` with its weights."""
    network = alone(shared_groups=shared)
    segmenter, grader = VGG16UNet(out_channels=5, widths=WIDTHS).eval(), VGG16Classifier(widths=WIDTHS).eval()
    weights = network.state_dict()
    decoder = {"decoder_4": "decoder.0", "decoder.0": "decoder.1", "decoder.1": "decoder.2", "decoder.2": "decoder.3"}
    moved = {}
    for old, new in decoder.items():
        moved |= {new + k.removeprefix(old): v for k, v in weights.items() if k.startswith(f"{old}.")}
    moved |= renamed(weights, segmentation_head="head")
    groups = network.group_names
    segmenter.load_state_dict({**moved, **_encoder(layers(network, groups["segmentation"]))})
    grader.load_state_dict({**renamed(weights, grading_head="head"), **_encoder(layers(network, groups["grade"]))})
    outputs = network(image())
    torch.testing.assert_close(outputs["segmentation"], segmenter(image()))
    torch.testing.assert_close(outputs["grade"], grader(image()))


def _encoder(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"encoder.{name}": value for name, value in weights.items()}


@pytest.mark.parametrize(("shared", "own"), [(3, {"4", "5"}), (4, {"5"}), (5, set())])
def test_shared_groups_are_shared(shared, own):
    names = {name.split(".")[0] for name in alone(shared_groups=shared).state_dict()}
    assert {name[-1] for name in names if name.startswith("grading_group")} == own
    groups = alone(shared_groups=shared).group_names
    assert [a == b for a, b in zip(*groups.values(), strict=True)] == [True] * shared + [False] * (5 - shared)


@pytest.mark.parametrize("place", DEEP_FUSION_PLACES)
def test_deep_fusion_meets_the_features_it_names(place):
    """What comes in and what is done with what goes out, level by level, with the network's own parts."""
    network = build(deep_fusion_place=place, shallow_fusion=None)
    seen = []
    network.deep_fusion.register_forward_hook(lambda module, given, got: seen.append((given, got)))
    outputs = network(image())
    x, skips = image(), []
    for group in network.shared:
        x = group(x)
        skips.append(x)
    encoder, grading = network.segmentation_group_4(x), network.grading_group_4(x)
    ((given, (segmentation_out, grading_out)),) = seen
    if place == "en_4":
        expected = (encoder, grading)
        deepest, grading = network.segmentation_group_5(segmentation_out), network.grading_group_5(grading_out)
        x = network.decoder_4([segmentation_out], deepest)
    elif place == "de_4":
        expected = (network.decoder_4([encoder], network.segmentation_group_5(encoder)), grading)
        x, grading = segmentation_out, network.grading_group_5(grading_out)
    else:
        expected = (network.segmentation_group_5(encoder), network.grading_group_5(grading))
        x, grading = network.decoder_4([encoder], segmentation_out), grading_out
    torch.testing.assert_close(given, expected)
    for block in network.decoder:
        x = block([skips.pop()], x)
    torch.testing.assert_close(outputs["segmentation"], network.segmentation_head(x))
    torch.testing.assert_close(outputs["grade"], network.grading_head(grading.mean((2, 3))))


def test_none_is_a_word_too():
    named = build(deep_fusion="none", shallow_fusion="none")
    assert named.state_dict().keys() == alone().state_dict().keys()


def test_shallow_fusion_sees_the_softmax_and_the_deeply_fused_grading():
    network, seen = build(), {}
    network.deep_fusion.register_forward_hook(lambda module, given, got: seen.update(deep=got))
    network.shallow_fusion.register_forward_hook(lambda module, given, got: seen.update(given=given, got=got))
    outputs = network(image())
    torch.testing.assert_close(seen["given"][0], outputs["segmentation"].softmax(1))
    torch.testing.assert_close(seen["given"][1], seen["deep"][1])
    torch.testing.assert_close(outputs["grade"], network.grading_head(seen["got"].mean((2, 3))))


def test_imagenet_weights_start_both_ends(tmp_path):
    torch.manual_seed(1)
    weights = VGG16(widths=WIDTHS).state_dict()
    torch.save(weights, tmp_path / "vgg16_bn.pth")
    network = VGG16GradingUNet(widths=WIDTHS, pretrained=tmp_path / "vgg16_bn.pth")
    for groups in network.group_names.values():
        torch.testing.assert_close(layers(network, groups), weights)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shared_groups": 2}, "3, 4 or 5"),
        ({"deep_fusion_place": "en_3"}, "one of en_4, de_4, en_5"),
        ({"shared_groups": 5, "deep_fusion_place": "en_4"}, "cannot be shared"),
        ({"deep_fusion": "gate"}, "attention is one of"),
        ({"widths": (4, 8, 8, 16)}, "five groups"),
    ],
)
def test_bad_options_are_named(options, match):
    with pytest.raises(ValueError, match=match):
        VGG16GradingUNet(**{"widths": WIDTHS, **options})
