"""The command run in this process, a tiny data set of phantoms and random weights that fit the cpu preset."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from tinylesions.apps.main import main
from tinylesions.datasets import LESIONS, record_training
from tinylesions.datasets.phantoms import write_idrid_segmentation
from tinylesions.monai_bundles import Bundle, find_bundle
from tinylesions.networks import VGG16UNetPlusPlus

PHOTOS = Path("A. Segmentation", "1. Original Images", "a. Training Set")


@dataclass(frozen=True)
class Answer:
    """What a command printed and its exit code."""

    code: int | str | None
    out: str
    err: str

    @property
    def problem(self) -> str:
        """The one sentence of a refusal: exit code 2 and a single line on stderr, the bar of a progress aside."""
        lines = [line for line in self.err.split("\n") if line and "\r" not in line]
        lines = [line for line in lines if not line.startswith("warning:")]
        assert self.code == 2, self
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        return lines[0].removeprefix("error: ")


@dataclass(frozen=True)
class CopiedBundle(Bundle):
    """A bundle whose files lie somewhere else."""

    folder: Path = Path()

    @property
    def root(self) -> Path:
        """The folder of the copy."""
        return self.folder


@pytest.fixture
def tinylesions(monkeypatch, capsys) -> Callable[..., Answer]:
    """Run the command with arguments; anything but an exit escapes as it would at a shell."""
    # what main() installs is taken back after the test
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(logging.getLogger("tinylesions"), "handlers", [])

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["tinylesions", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        return Answer(exit_.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def cpu_widths() -> list[int]:
    preset = find_bundle("fundus_multi_lesion_segmentation").root / "configs" / "cpu.json"
    return json.loads(preset.read_text(encoding="utf-8"))["widths"]


def save_weights(path: Path, widths: list[int], seed: int) -> Path:
    torch.manual_seed(seed)
    torch.save(VGG16UNetPlusPlus(in_channels=3, out_channels=6, widths=widths).state_dict(), path)
    return path


def save_record(weights: Path, widths: list[int]) -> Path:
    """Write the record that a training with train.json leaves beside its weights."""
    built = {"architecture": "vgg16_unet_plus_plus", "arguments": {"widths": widths}}
    usage = {"crop_method": "otsu", "longest_side": None, "background_sigma": None, "roi_size": [64, 64]}
    record_training(weights.parent, "model", built, lesions=list(LESIONS), activation="softmax", flips=[[]], **usage)
    return weights


@pytest.fixture(scope="session")
def weights(tmp_path_factory, cpu_widths) -> Path:
    """Random weights of the cpu preset."""
    return save_record(save_weights(tmp_path_factory.mktemp("weights") / "model.pt", cpu_widths, seed=0), cpu_widths)


@pytest.fixture(scope="session")
def other_weights(tmp_path_factory, cpu_widths) -> Path:
    """Other random weights of the cpu preset."""
    return save_record(save_weights(tmp_path_factory.mktemp("weights") / "model.pt", cpu_widths, seed=1), cpu_widths)


@pytest.fixture(scope="session")
def wide_weights(tmp_path_factory) -> Path:
    """Weights of another network."""
    return save_weights(tmp_path_factory.mktemp("weights") / "model.pt", [4, 4, 4, 4, 4], seed=0)


@pytest.fixture(scope="session")
def _phantoms(tmp_path_factory) -> Path:
    return write_idrid_segmentation(tmp_path_factory.mktemp("phantoms") / "data", 2, 1, size=(192, 256), seed=3)


@pytest.fixture
def dataset(_phantoms, tmp_path) -> Path:
    """IDRiD's folders with two training photos and a test photo of 192×256 px; a test may spoil it."""
    return Path(shutil.copytree(_phantoms, tmp_path / "dataset"))


@pytest.fixture(scope="session")
def photo(_phantoms) -> Path:
    """A phantom, 256 px wide and 192 px high; not to be changed."""
    return _phantoms / PHOTOS / "IDRiD_01.jpg"


@pytest.fixture(scope="session")
def image(photo) -> Image.Image:
    """The phantom's pixels."""
    with Image.open(photo) as opened:
        return opened.convert("RGB")


@pytest.fixture
def predict(tinylesions, weights, tmp_path) -> Callable[..., Answer]:
    """Run ``tinylesions predict`` with the random weights into ``out``."""

    def run(*arguments: object, weights: Path = weights, out: Path = tmp_path / "out") -> Answer:
        return tinylesions("predict", *arguments, "--weights", weights, "--preset", "cpu", "--out", out)

    return run


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory) -> Bundle:
    """A copy of the bundle whose cpu preset trains for some seconds."""
    bundle = find_bundle("fundus_multi_lesion_segmentation")
    folder = Path(shutil.copytree(bundle.root, tmp_path_factory.mktemp("bundle") / bundle.name))
    preset = {
        "widths": [4, 4, 4, 4, 4],
        "windows_per_epoch": 32,
        "batch_size": 16,
        "num_workers": 0,
        "max_epochs": 1,
        "val_interval": 1,
        "val_overlap": 0,
    }
    (folder / "configs" / "cpu.json").write_text(json.dumps(preset), encoding="utf-8")
    return CopiedBundle(bundle.name, bundle.title, bundle.classes, folder)
