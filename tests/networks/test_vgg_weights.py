from __future__ import annotations

import sys
from urllib.error import URLError

import pytest
import torch

from tinylesions.datasets.errors import InputError
from tinylesions.networks import VGG16, VGG16UNet, VGG16UNetPlusPlus, load_vgg16_weights

from .tester import WIDTHS, stir_batch_norms


@pytest.fixture(params=[False, True], ids=["vgg16", "vgg16_bn"])
def source(request):
    torch.manual_seed(1)
    return stir_batch_norms(VGG16(batch_norm=request.param, widths=WIDTHS))


@pytest.fixture
def path(source, tmp_path):
    """A file as torchvision's are: in the format before zip, with a classifier, without `num_batches_tracked`."""
    weights = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    weights |= {"classifier.0.weight": torch.rand(5, 4), "classifier.0.bias": torch.rand(5)}
    torch.save(weights, tmp_path / "vgg.pth", _use_new_zipfile_serialization=False)
    return tmp_path / "vgg.pth"


def assert_same_weights(encoder, source):
    weights = encoder.state_dict()
    torch.testing.assert_close(weights, {name: source.state_dict()[name] for name in weights}, rtol=0, atol=0)


def test_every_weight_is_loaded(source, path):
    assert_same_weights(VGG16(batch_norm=source.batch_norm, widths=WIDTHS, pretrained=path), source)


@pytest.mark.parametrize("network", [VGG16UNet, VGG16UNetPlusPlus])
def test_networks_pass_the_weights_to_their_encoder(network, source, path):
    built = network(widths=WIDTHS, batch_norm=source.batch_norm, pretrained=str(path))
    assert_same_weights(built.encoder, source)


def test_a_shallower_encoder_takes_its_groups(source, path):
    assert_same_weights(VGG16(batch_norm=source.batch_norm, widths=WIDTHS[:2], pretrained=path), source)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 7])
def test_constant_input_gets_the_same_response(source, path, channels):
    adapted = VGG16(channels, source.batch_norm, WIDTHS, pretrained=path).features[0]
    expected = source.features[0](torch.full((1, 3, 8, 8), 0.7))
    torch.testing.assert_close(adapted(torch.full((1, channels, 8, 8), 0.7)), expected)


def test_one_channel_sums_over_rgb(source, path):
    adapted = VGG16(1, source.batch_norm, WIDTHS, pretrained=path).features[0].weight
    torch.testing.assert_close(adapted[:, 0], source.features[0].weight.sum(1))


def test_more_channels_repeat_rgb(source, path):
    rgb = source.features[0].weight
    adapted = VGG16(4, source.batch_norm, WIDTHS, pretrained=path).features[0].weight
    torch.testing.assert_close(adapted, torch.stack([rgb[:, 0] / 2, rgb[:, 1], rgb[:, 2], rgb[:, 0] / 2], dim=1))


def test_the_other_kind_of_file_is_named(source, path):
    right = "vgg16-397923af.pth" if source.batch_norm else "vgg16_bn-6c64b313.pth"
    with pytest.raises(InputError, match=rf"vgg\.pth: .*{right}"):
        VGG16(batch_norm=not source.batch_norm, widths=WIDTHS, pretrained=path)


def test_other_widths_are_named(source, path):
    with pytest.raises(InputError, match=r"vgg\.pth: features\.0\.weight has the shape \(4, 3, 3, 3\).*\(8, 3, 3, 3\)"):
        VGG16(batch_norm=source.batch_norm, widths=(8, 8, 8, 16, 16), pretrained=path)


def test_missing_weights_are_named(source, tmp_path):
    weights = source.state_dict()
    del weights["features.10.bias"]
    torch.save(weights, tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r"cut\.pth: 1 of .* missing, features\.10\.bias"):
        load_vgg16_weights(source, tmp_path / "cut.pth")


def test_missing_file():
    with pytest.raises(InputError, match=r"nowhere\.pth: no such weights file"):
        VGG16(widths=WIDTHS, pretrained="nowhere.pth")


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04cut"])
def test_unreadable_file(tmp_path, content):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.pth: no readable weights file"):
        VGG16(widths=WIDTHS, pretrained=tmp_path / "bad.pth")


def test_a_checkpoint_of_other_structure(tmp_path):
    torch.save({"model": {}, "epoch": 3}, tmp_path / "run.pt")
    with pytest.raises(InputError, match=r"run\.pt: holds no plain table of weights"):
        VGG16(widths=WIDTHS, pretrained=tmp_path / "run.pt")


def test_safetensors(source, tmp_path):
    pytest.importorskip("safetensors.torch").save_file(source.state_dict(), tmp_path / "vgg.safetensors")
    loaded = VGG16(batch_norm=source.batch_norm, widths=WIDTHS, pretrained=tmp_path / "vgg.safetensors")
    assert_same_weights(loaded, source)


def test_safetensors_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "vgg.safetensors").touch()
    with pytest.raises(InputError, match="safetensors is not installed"):
        VGG16(widths=WIDTHS, pretrained=tmp_path / "vgg.safetensors")


def test_imagenet_asks_pytorch_for_the_right_file(source, monkeypatch):
    asked = {}

    def download(url, **options):
        asked.update(options, url=url)
        return source.state_dict()

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    assert_same_weights(VGG16(batch_norm=source.batch_norm, widths=WIDTHS, pretrained="imagenet"), source)
    name = "vgg16_bn-6c64b313.pth" if source.batch_norm else "vgg16-397923af.pth"
    assert asked["url"] == f"https://download.pytorch.org/models/{name}"
    assert asked["check_hash"]
    assert asked["weights_only"]


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash value")])
def test_failed_download_says_what_to_do(monkeypatch, error):
    def download(*args, **options):
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    with pytest.raises(OSError, match="give its path instead of 'imagenet'"):
        VGG16(widths=WIDTHS, pretrained="imagenet")
