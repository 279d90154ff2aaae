from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks import VGG16

from .tester import WIDTHS, image

# torchvision's published layout: number of the layer in `features`, output and input channels
VGG16_LAYOUT = [
    (0, 64, 3), (2, 64, 64),
    (5, 128, 64), (7, 128, 128),
    (10, 256, 128), (12, 256, 256), (14, 256, 256),
    (17, 512, 256), (19, 512, 512), (21, 512, 512),
    (24, 512, 512), (26, 512, 512), (28, 512, 512),
]  # fmt: skip
VGG16_BN_LAYOUT = [
    (0, 64, 3), (3, 64, 64),
    (7, 128, 64), (10, 128, 128),
    (14, 256, 128), (17, 256, 256), (20, 256, 256),
    (24, 512, 256), (27, 512, 512), (30, 512, 512),
    (34, 512, 512), (37, 512, 512), (40, 512, 512),
]  # fmt: skip


@pytest.mark.parametrize(("batch_norm", "layout"), [(False, VGG16_LAYOUT), (True, VGG16_BN_LAYOUT)])
def test_names_and_shapes_are_torchvisions(batch_norm, layout):
    expected = {}
    for index, out, channels in layout:
        expected[f"features.{index}.weight"] = (out, channels, 3, 3)
        expected[f"features.{index}.bias"] = (out,)
        if batch_norm:
            for name in ("weight", "bias", "running_mean", "running_var"):
                expected[f"features.{index + 1}.{name}"] = (out,)
            expected[f"features.{index + 1}.num_batches_tracked"] = ()
    with torch.device("meta"):
        weights = VGG16(batch_norm=batch_norm).state_dict()
    assert {name: tuple(value.shape) for name, value in weights.items()} == expected


def test_groups_against_literal_convolutions():
    encoder = VGG16(batch_norm=False, widths=WIDTHS)
    weights = encoder.state_dict()
    x, expected = image(), []
    for group in ([0, 2], [5, 7], [10, 12, 14], [17, 19, 21], [24, 26, 28]):
        x = functional.max_pool2d(x, 2) if expected else x
        for index in group:
            x = functional.conv2d(x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], padding=1)
            x = x.clamp_min(0)
        expected.append(x)
    torch.testing.assert_close(encoder(image()), expected)


def test_only_the_groups_asked_for_are_computed():
    encoder = VGG16(widths=WIDTHS).eval()
    calls = []
    for index, layer in enumerate(encoder.features):
        layer.register_forward_hook(lambda *_, index=index: calls.append(index))
    first = encoder(image(), groups=2)
    assert calls == list(range(13))
    torch.testing.assert_close(first, encoder(image())[:2])


def test_fewer_widths_build_the_first_groups():
    short, whole = VGG16(widths=WIDTHS[:3]), VGG16(widths=WIDTHS)
    assert len(short(image())) == 3
    assert short.state_dict().keys() < whole.state_dict().keys()


@pytest.mark.parametrize("widths", [(), (4,) * 6])
def test_impossible_widths(widths):
    with pytest.raises(ValueError, match="one to five groups"):
        VGG16(widths=widths)


def test_initial_weights_keep_the_signal_without_batch_norm():
    torch.manual_seed(0)
    deepest = VGG16(batch_norm=False)(torch.randn(1, 3, 64, 64))[-1]
    assert 0.1 < deepest.square().mean() < 10
    assert all(not layer.bias.any() for layer in VGG16(widths=WIDTHS).features if isinstance(layer, nn.Conv2d))


def test_torchscript():
    encoder = VGG16(widths=WIDTHS).eval()
    torch.testing.assert_close(torch.jit.script(encoder)(image(), 3), encoder(image(), 3))
