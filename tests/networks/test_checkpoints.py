"""Weights are loaded whole, or refused with what is wrong and what to do."""

from __future__ import annotations

import os
import pickle

import pytest
import torch

from tinylesions.datasets.errors import InputError
from tinylesions.networks import VGG16UNetPlusPlus, load_checkpoint, save_half

from .tester import WIDTHS

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


def network_of(widths: tuple[int, ...] = WIDTHS, **options) -> VGG16UNetPlusPlus:
    return VGG16UNetPlusPlus(widths=widths, **options)


@pytest.fixture(scope="module")
def trained() -> VGG16UNetPlusPlus:
    torch.manual_seed(1)
    return network_of()


@pytest.mark.parametrize("nested", [False, True])
def test_weights_that_fit(tmp_path, trained, nested):
    path = tmp_path / "model.pt"
    torch.save({"network": trained.state_dict(), "trainer": {"iteration": 3}} if nested else trained.state_dict(), path)
    network = network_of()
    assert load_checkpoint(network, os.fspath(path)) is network
    for name, value in network.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name]), name


def test_other_widths(tmp_path, trained):
    path = tmp_path / "model.pt"
    torch.save(trained.state_dict(), path)
    wider = network_of(tuple(2 * width for width in WIDTHS))
    before = {name: value.clone() for name, value in wider.state_dict().items()}
    with pytest.raises(InputError, match=r"model\.pt does not fit VGG16UNetPlusPlus: .* in the file and .*widths"):
        load_checkpoint(wider, path)
    assert all(torch.equal(value, before[name]) for name, value in wider.state_dict().items())


def test_another_network(tmp_path, trained):
    path = tmp_path / "model.pt"
    torch.save(trained.state_dict(), path)
    with pytest.raises(InputError, match=r"VGG16UNetPlusPlus: \d+ parameters .*\(the preset, if it was one\)\.$"):
        load_checkpoint(network_of(batch_norm=False), path)
    torch.save({0: torch.zeros(1), "weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="does not fit"):
        load_checkpoint(network_of(), path)


@pytest.mark.parametrize("content", [torch.zeros(3), {"loss": 0.3}, [torch.zeros(2)], {"network": {"a": "b"}}])
def test_what_is_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt holds no weights"):
        load_checkpoint(network_of(), tmp_path / "model.pt")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello world", b"\x00" * 100, b"<!doctype html><p>404", b"version https://git-lfs.github.com/spec/v1\n"],
)
def test_garbage(tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.pt is no file of weights"):
        load_checkpoint(torch.nn.Linear(2, 2), tmp_path / "model.pt")


def test_any_short_run_of_bytes(tmp_path):
    """torch's reader of old files stumbles over them in many ways."""
    path, network, generator = tmp_path / "model.pt", torch.nn.Linear(2, 2), torch.Generator().manual_seed(0)
    for length in torch.randint(1, 40, (300,), generator=generator).tolist():
        path.write_bytes(bytes(torch.randint(32, 127, (length,), generator=generator).tolist()))
        with pytest.raises(InputError, match="name a model"):
            load_checkpoint(network, path)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_truncated(tmp_path, share, new_format):
    path, network = tmp_path / "model.pt", torch.nn.Linear(20, 20)
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=new_format)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"model\.pt is no file of weights, or a damaged one"):
        load_checkpoint(network, path)


class Intruder:
    """Creates a file when it is unpickled by a reader that allows code."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_file_is_not_run(tmp_path):
    intruder = {"weight": Intruder(os.fspath(tmp_path / "harmed"))}
    torch.save(intruder, tmp_path / "model.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(intruder))
    for name in ("model.pt", "plain.pt"):
        with pytest.raises(InputError, match=name):
            load_checkpoint(network_of(), tmp_path / name)
    assert not (tmp_path / "harmed").exists()
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "harmed").exists()  # it would have run


def test_missing_file(tmp_path):
    for path in (tmp_path / "model.pt", tmp_path):
        with pytest.raises(InputError, match=r"there are no weights at .*train first"):
            load_checkpoint(network_of(), path)


def test_weights_saved_in_half(tmp_path, trained):
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    save_half(trained, tmp_path / "new" / "model.pt")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.pt"]
    torch.save(before, tmp_path / "whole.pt")
    assert (tmp_path / "new" / "model.pt").stat().st_size < 0.7 * (tmp_path / "whole.pt").stat().st_size
    network = load_checkpoint(network_of(), tmp_path / "new" / "model.pt")
    for name, value in network.state_dict().items():
        expected = before[name]
        assert torch.equal(trained.state_dict()[name], expected)
        assert trained.state_dict()[name].dtype == expected.dtype
        if expected.is_floating_point():
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, expected, rtol=2**-11, atol=2**-25)  # float16 rounds so
        else:
            assert value.dtype == expected.dtype
            assert torch.equal(value, expected)


@pytest.mark.parametrize("value", [7e4, float("inf"), float("nan")])
def test_weights_beyond_half_are_not_saved(tmp_path, value):
    network = torch.nn.BatchNorm2d(2)
    network.running_var[1] = value
    with pytest.raises(InputError, match=r"model\.pt cannot be saved in float16: running_var .*65504"):
        save_half(network, tmp_path / "model.pt")
    assert not any(tmp_path.iterdir())


def test_weights_saved_where_a_file_is_in_the_way(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"model\.pt cannot be written"):
        save_half(torch.nn.Linear(2, 2), tmp_path / "file" / "model.pt")
