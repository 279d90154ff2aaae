from __future__ import annotations

from copy import deepcopy
from itertools import product

import onnxruntime
import pytest
import torch
from torch import nn

from tinylesions.networks.sam_adapter import SAMAdapter

from .sam_reference import encode
from .tester import NetworkTester, image

TINY = {
    "embed_dim": 8,
    "depth": 3,
    "num_heads": 2,
    "global_attn_indexes": (1,),
    "window_size": 3,
    "patch_size": 4,
    "image_size": 20,
    "neck_channels": 8,
}


def tiny(**options) -> SAMAdapter:
    return SAMAdapter(**{**TINY, **options})


def stirred(network: SAMAdapter) -> SAMAdapter:
    """Every parameter far from what it starts as, so that leaving one out shows."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network


def grey(height: int = 20, width: int = 20) -> torch.Tensor:
    return torch.randn(2, 1, height, width, generator=torch.Generator().manual_seed(0))


def gelu(x: torch.Tensor) -> torch.Tensor:
    return x * (1 + torch.erf(x / 2**0.5)) / 2


class TestSAMAdapter(NetworkTester):
    train_shape = eval_shape = (2, 2, 32, 48)

    def make(self):
        network = tiny(in_channels=3, out_channels=2, window_size=2, patch_size=16, image_size=64, freeze_encoder=False)
        for block in network.image_encoder.blocks:
            nn.init.normal_(block.adapter.linear2.weight)
        return network

    @pytest.mark.slow
    def test_onnx_with_free_sizes(self, network, tmp_path):
        """Sizes are fixed, since tables and windows depend on them; the number of images is free."""
        path = tmp_path / "network.onnx"
        free = {0: torch.export.Dim.DYNAMIC}
        network.eval()
        torch.onnx.export(network, (image(),), path, dynamo=True, dynamic_shapes=(free,), input_names=["image"])
        session = onnxruntime.InferenceSession(path)
        for x in (image(), image()[:1]):
            (out,) = session.run(None, {"image": x.numpy()})
            torch.testing.assert_close(torch.from_numpy(out), network(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(20, 20), (12, 28)], ids=["the tables' size", "interpolated"])
@pytest.mark.parametrize("adapted", [True, False], ids=["adapters", "adapters of zero"])
def test_the_encoder_is_segment_anythings(height, width, adapted):
    torch.manual_seed(0)
    network = stirred(tiny()).double()
    encoder = network.image_encoder
    weights = encoder.state_dict() if adapted else encoder.published_state_dict()
    if not adapted:
        for block in encoder.blocks:
            nn.init.zeros_(block.adapter.linear2.weight)
            nn.init.zeros_(block.adapter.linear2.bias)
    x = grey(height, width).double().repeat(1, 3, 1, 1)
    out = encoder(x)
    arrays = {name: value.numpy() for name, value in weights.items()}
    for picture, features in zip(x, out, strict=True):
        expected = encode(arrays, picture.numpy(), patch=4, heads=2, window=3, global_blocks=(1,))
        torch.testing.assert_close(features, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


def test_adapters_start_as_nothing():
    torch.manual_seed(0)
    network = tiny()
    before = network(grey())
    for block in network.image_encoder.blocks:
        nn.init.normal_(block.adapter.linear1.weight)
    torch.testing.assert_close(network(grey()), before, rtol=0, atol=0)
    nn.init.normal_(network.image_encoder.blocks[0].adapter.linear2.weight)
    assert not torch.allclose(network(grey()), before)


@torch.no_grad()
def test_a_grey_image_goes_into_each_channel_and_comes_back_in_its_size():
    torch.manual_seed(0)
    network = stirred(tiny(out_channels=2, patch_size=8, image_size=40))
    quarters = network.decoder(network.image_encoder(torch.cat([grey(24, 40)] * 3, dim=1)))
    assert quarters.shape == (2, 2, 12, 20)
    expected = nn.UpsamplingBilinear2d(scale_factor=2)
    expected.align_corners = False
    torch.testing.assert_close(network(grey(24, 40)), expected(quarters))
    colour = tiny(in_channels=3, out_channels=2, patch_size=8, image_size=40)
    colour.load_state_dict(network.state_dict())
    torch.testing.assert_close(colour(torch.cat([grey(24, 40)] * 3, dim=1)), expected(quarters))


@torch.no_grad()
def test_the_decoder_is_its_definition():
    """Each token makes its own 4×4 pixels: 2×2 places, a layer norm, GELU, 2×2 in each of those, GELU, a linear map."""
    torch.manual_seed(0)
    network = stirred(tiny(out_channels=2, neck_channels=16)).double()
    first, norm, _, second, _, head = network.decoder
    features = torch.randn(1, 16, 3, 4, dtype=torch.float64)
    out = network.decoder(features)
    assert out.shape == (1, 2, 12, 16)
    for row, column in product(range(12), range(16)):
        x = features[0, :, row // 4, column // 4] @ first.weight[:, :, row // 2 % 2, column // 2 % 2] + first.bias
        x = (x - x.mean()) / (x.var(correction=0) + 1e-6).sqrt() * norm.weight + norm.bias
        x = gelu(x) @ second.weight[:, :, row % 2, column % 2] + second.bias
        torch.testing.assert_close(out[0, :, row, column], head.weight[:, :, 0, 0] @ gelu(x) + head.bias)


def test_only_adapters_and_decoder_learn():
    torch.manual_seed(0)
    network = tiny()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(2):  # the adapters' first layers learn once their last ones are no longer zero
        optimiser.zero_grad()
        network(grey()).square().mean().backward()
        optimiser.step()
    for name, parameter in network.named_parameters():
        learns = name.startswith("decoder.") or ".adapter." in name
        assert parameter.requires_grad == learns, name
        assert (parameter.grad is not None) == learns, name
        assert torch.equal(parameter, before[name]) != learns, name


def test_a_copy_stays_frozen():
    network = tiny()
    copy = deepcopy(network)
    torch.testing.assert_close(copy(grey()), network(grey()), rtol=0, atol=0)
    assert [p.requires_grad for p in copy.parameters()] == [p.requires_grad for p in network.parameters()]
    assert not all(parameter.requires_grad for parameter in copy.parameters())


@torch.no_grad()
def test_channels_last_and_bfloat16():
    torch.manual_seed(0)
    network = tiny(neck_channels=32)
    expected = network(grey())
    x = grey().to(memory_format=torch.channels_last)
    torch.testing.assert_close(deepcopy(network).to(memory_format=torch.channels_last)(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(grey())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, rtol=0, atol=0.15 * float(expected.std()))


def test_names_and_shapes_are_those_of_the_public_vit_b():
    with torch.device("meta"):
        network = SAMAdapter()
    shapes = {name: tuple(value.shape) for name, value in network.image_encoder.published_state_dict().items()}
    expected = {
        "pos_embed": (1, 64, 64, 768),
        "patch_embed.proj.weight": (768, 3, 16, 16),
        "patch_embed.proj.bias": (768,),
        "neck.0.weight": (256, 768, 1, 1),
        "neck.1.weight": (256,),
        "neck.1.bias": (256,),
        "neck.2.weight": (256, 256, 3, 3),
        "neck.3.weight": (256,),
        "neck.3.bias": (256,),
    }
    for index in range(12):
        distances = 127 if index in (2, 5, 8, 11) else 27
        block = {
            "norm1.weight": (768,),
            "norm1.bias": (768,),
            "attn.rel_pos_h": (distances, 64),
            "attn.rel_pos_w": (distances, 64),
            "attn.qkv.weight": (2304, 768),
            "attn.qkv.bias": (2304,),
            "attn.proj.weight": (768, 768),
            "attn.proj.bias": (768,),
            "norm2.weight": (768,),
            "norm2.bias": (768,),
            "mlp.lin1.weight": (3072, 768),
            "mlp.lin1.bias": (3072,),
            "mlp.lin2.weight": (768, 3072),
            "mlp.lin2.bias": (768,),
        }
        expected |= {f"blocks.{index}.{name}": shape for name, shape in block.items()}
    assert shapes == expected
    assert sum(value.numel() for value in network.image_encoder.published_state_dict().values()) == 89_670_912
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    assert trained == 12 * (768 * 192 + 192 + 192 * 768 + 768) + 65_600 + 128 + 8_224 + 33


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 2}, "in_channels must be 1 or 3"),
        ({"num_heads": 3}, "8 is none of 3"),
        ({"global_attn_indexes": (1, 3)}, r"must be 0 to 2, not \(1, 3\)"),
        ({"image_size": 22}, "22 is none of 4"),
        ({"neck_channels": 4}, "8 or more"),
    ],
)
def test_arguments_that_contradict(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)
