"""A checkpoint of Segment Anything is loaded whole, or refused with what is wrong and what to do."""

from __future__ import annotations

import pytest
import torch

from tinylesions.datasets.errors import InputError
from tinylesions.networks.sam_adapter import SAMAdapter

from .test_sam_adapter import TINY, grey, stirred, tiny

SOURCE = "github.com/facebookresearch/segment-anything"


@pytest.fixture
def source() -> SAMAdapter:
    torch.manual_seed(1)
    return stirred(tiny())


@pytest.fixture
def weights(source) -> dict[str, torch.Tensor]:
    """What Segment Anything would publish of `source`: its encoder beside other parts."""
    encoder = {f"image_encoder.{name}": value for name, value in source.image_encoder.published_state_dict().items()}
    return {"prompt_encoder.no_mask_embed.weight": torch.zeros(1, 8)} | encoder | {"mask_decoder.x": torch.zeros(3)}


@pytest.fixture
def path(tmp_path, weights):
    torch.save(weights, tmp_path / "sam.pth")
    return tmp_path / "sam.pth"


def refusal(path, **options) -> str:
    with pytest.raises(InputError) as caught:
        tiny(pretrained=path, **options)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence.removeprefix(f"{path}: ")


@pytest.mark.parametrize("kind", [str, lambda path: path])
@pytest.mark.parametrize("freeze", [True, False])
def test_the_encoder_is_loaded_and_the_rest_ignored(source, weights, path, kind, freeze):
    network = tiny(pretrained=kind(path), freeze_encoder=freeze)
    loaded = network.state_dict()
    for name, value in weights.items():
        if name.startswith("image_encoder."):
            assert torch.equal(loaded[name], value), name
    assert network.image_encoder.pos_embed.requires_grad != freeze
    for block in source.image_encoder.blocks:
        torch.nn.init.zeros_(block.adapter.linear2.weight)
        torch.nn.init.zeros_(block.adapter.linear2.bias)
    x = grey().repeat(1, 3, 1, 1)
    torch.testing.assert_close(network.image_encoder(x), source.image_encoder(x))


def test_no_such_file_says_where_it_comes_from(tmp_path):
    sentence = refusal(tmp_path / "nowhere.pth")
    assert sentence.startswith("no such weights file; download sam_vit_b_01ec64.pth")
    assert SOURCE in sentence
    assert "Apache" in sentence


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04cut"])
def test_an_unreadable_file(tmp_path, content):
    (tmp_path / "bad.pth").write_bytes(content)
    assert refusal(tmp_path / "bad.pth").startswith("no readable weights file")


@pytest.mark.parametrize(
    "content",
    [torch.zeros(3), {}, {"mask_decoder.x": torch.zeros(3)}, {"image_encoder.pos_embed": 3}, {0: torch.zeros(3)}],
)
def test_a_file_without_an_image_encoder(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    assert refusal(tmp_path / "other.pth").startswith("holds no image encoder")


@pytest.mark.parametrize(
    "settings",
    [
        {"embed_dim": 16, "num_heads": 4},
        {"num_heads": 4},
        {"depth": 4},
        {"depth": 2},
        {"global_attn_indexes": (0, 2)},
        {"window_size": 2},
        {"image_size": 40},
        {"neck_channels": 16},
    ],
)
def test_the_settings_of_another_size_are_named(path, settings):
    sentence = refusal(path, **settings)
    assert "set " + ", ".join(f"{name}={TINY[name]}" for name in settings) + "," in sentence


def test_another_patch_is_named(path):
    assert "set patch_size=4, image_size=20, or" in refusal(path, patch_size=8, image_size=40)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ViT-L", {"embed_dim": 1024, "depth": 24, "num_heads": 16, "global_attn_indexes": (5, 11, 17, 23)}),
        ("ViT-H", {"embed_dim": 1280, "depth": 32, "num_heads": 16, "global_attn_indexes": (7, 15, 23, 31)}),
    ],
)
def test_the_larger_encoders_are_named(tmp_path, name, settings):
    with torch.device("meta"):
        larger = SAMAdapter(**settings).image_encoder.published_state_dict()
    path = tmp_path / "larger.pth"
    torch.save({f"image_encoder.{key}": torch.zeros(()).expand(value.shape) for key, value in larger.items()}, path)
    arguments = ", ".join(f"{argument}={value}" for argument, value in settings.items())
    with torch.device("meta"), pytest.raises(InputError) as caught:
        SAMAdapter(pretrained=path)
    assert str(caught.value) == (
        f"{path}: holds {name} of other settings than the network; set {arguments}, or give another file."
    )


@pytest.mark.parametrize("name", ["blocks.1.mlp.lin2.bias", "pos_embed", "blocks.0.attn.rel_pos_h"])
def test_a_missing_entry_is_named(tmp_path, weights, name):
    del weights[f"image_encoder.{name}"]
    torch.save(weights, tmp_path / "cut.pth")
    sentence = refusal(tmp_path / "cut.pth")
    assert sentence.startswith(f"{name} is missing; download ")
    assert SOURCE in sentence


def test_an_entry_of_another_shape_is_named(tmp_path, weights):
    weights["image_encoder.blocks.2.mlp.lin1.bias"] = torch.zeros(5)
    torch.save(weights, tmp_path / "odd.pth")
    assert refusal(tmp_path / "odd.pth").startswith("blocks.2.mlp.lin1.bias has the shape (5,), not (32,); download ")


def test_an_entry_too_many_is_named(source, tmp_path):
    """A trained SAM-Adapter is a checkpoint of its own, not one to start from: its adapters would be lost."""
    torch.save(source.state_dict(), tmp_path / "trained.pth")
    sentence = refusal(tmp_path / "trained.pth")
    assert sentence.startswith("blocks.0.adapter.linear1.bias is no part of Segment Anything's image encoder; ")
