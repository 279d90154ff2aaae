"""The light U-Net and UNet++ against literal ones."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks import EfficientNetUNet, load_checkpoint, save_half

from .efficientnet_reference import published_weights
from .tester import NetworkTester, image, stir_batch_norms
from .unet_reference import NESTED, Weights, block

WIDTHS = (4, 6, 8, 10)

PLAIN = {
    "x_3_1": ("x_3_0", "x_4_0"),
    "x_2_2": ("x_2_0", "x_3_1"),
    "x_1_3": ("x_1_0", "x_2_2"),
    "x_0_4": ("x_0_0", "x_1_3"),
}


class TestEfficientNetUNet(NetworkTester):
    train_shape = eval_shape = (2, 4, 32, 64)
    divisor = 32
    size = (32, 64)

    def make(self) -> nn.Module:
        return EfficientNetUNet(widths=WIDTHS, nested=True)

    @pytest.mark.slow
    def test_compile_without_graph_breaks(self, network):
        super().test_compile_without_graph_breaks(network)


def make(**options) -> EfficientNetUNet:
    torch.manual_seed(0)
    network = EfficientNetUNet(widths=WIDTHS, **options)
    stir_batch_norms(network)
    return network


def half_pixel_matrix(side: int) -> torch.Tensor:
    """Weights (2·side, side) of linear interpolation between the centres of pixels, the border repeated."""
    matrix = torch.zeros(2 * side, side, dtype=torch.float64)
    for row in range(2 * side):
        near = row // 2
        far = min(max(near + (1 if row % 2 else -1), 0), side - 1)
        matrix[row, near] += 0.75
        matrix[row, far] += 0.25
    return matrix


def enlarged(x: torch.Tensor) -> torch.Tensor:
    vertical, horizontal = (half_pixel_matrix(side) for side in x.shape[2:])
    return torch.einsum("yh,nchw,xw->ncyx", vertical, x, horizontal)


def literal_logits(weights: Weights, features: list[torch.Tensor], reads: dict, outputs: int) -> torch.Tensor:
    nodes = {f"x_{level}_0": value for level, value in enumerate(features)}
    for name, (*skips, below) in reads.items():
        both = torch.cat([*(nodes[skip] for skip in skips), enlarged(nodes[below])], dim=1)
        nodes[name] = block(weights, f"nodes.{name}", both)
    squares = functional.conv2d(nodes["x_0_4"], weights["head.weight"], weights["head.bias"])
    batch, _, height, width = squares.shape
    logits = torch.zeros(batch, outputs, 2 * height, 2 * width, dtype=squares.dtype)
    for output in range(outputs):
        for row in (0, 1):
            for column in (0, 1):
                logits[:, output, row::2, column::2] = squares[:, 4 * output + 2 * row + column]
    return logits


@pytest.mark.parametrize(("nested", "reads"), [(True, NESTED), (False, PLAIN)])
@pytest.mark.parametrize("size", [(64, 96), (32, 32)], ids=["64x96", "a last level of one pixel"])
def test_output_against_the_literal_decoder(nested, reads, size):
    network = make(out_channels=3, nested=nested).double().eval()
    x = image(*size).double()
    with torch.no_grad():
        found, expected = network(x), literal_logits(network.state_dict(), network.encoder(x), reads, 3)
    assert list(network.nodes) == list(reads)
    torch.testing.assert_close(found, expected)


def test_the_encoder_starts_from_the_file(tmp_path):
    weights = published_weights(in_channels=3)
    torch.save(weights, tmp_path / "lite0.pth")
    network = EfficientNetUNet(widths=WIDTHS, pretrained=tmp_path / "lite0.pth")
    assert torch.equal(network.encoder._conv_stem.weight, weights["_conv_stem.weight"])


@pytest.mark.parametrize("prior", [0.001, 0.02, 0.3])
def test_an_untrained_network_gives_the_prior(prior):
    torch.manual_seed(0)
    network = EfficientNetUNet(widths=WIDTHS, prior=prior)
    with torch.no_grad():
        logits = network(image(64, 64))
    assert logits.mean().item() == pytest.approx(math.log(prior / (1 - prior)), abs=0.5)
    assert logits.std() < 1


@pytest.mark.parametrize("prior", [0, 1, -0.1, float("nan")])
def test_a_prior_is_a_probability(prior):
    with pytest.raises(ValueError, match="prior is a probability"):
        EfficientNetUNet(prior=prior)


def test_widths_of_other_levels():
    with pytest.raises(ValueError, match=r"4 levels, but widths names 3: \(4, 8, 8\)"):
        EfficientNetUNet(widths=(4, 8, 8))


def test_trains_under_autocast():
    """In bfloat16, the depthwise convolutions in float32; every gradient is close to that of float32."""
    network, x = make(), image(64, 64)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # statistics of two images of few pixels would magnify the rounding
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = network(x)
        assert out.dtype == (torch.bfloat16 if enabled else torch.float32)
        out.float().sigmoid().sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert functional.cosine_similarity(*gradients, dim=0) > 0.99


def test_half_the_bytes_give_the_same_probabilities(tmp_path):
    network, other = make(prior=0.5).eval(), EfficientNetUNet(widths=WIDTHS).eval()
    with torch.no_grad():
        network.head.weight *= 10  # probabilities that can differ
    save_half(network, tmp_path / "model.pt")
    load_checkpoint(other, tmp_path / "model.pt")
    with torch.no_grad():
        found, expected = other(image(64, 96)).sigmoid(), network(image(64, 96)).sigmoid()
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-2)
