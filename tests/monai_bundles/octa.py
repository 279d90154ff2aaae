"""OCTA phantoms read past the bundle's own readers, and networks that stand for trained ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image
from torch import nn

from tinylesions.apps.input_errors import find_input_error
from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import OCTA_LESIONS
from tinylesions.monai_bundles import find_bundle

from .pixels import enlarge, shrink

CODES = dict(zip(("IRMA", "NPA", "NV"), OCTA_LESIONS, strict=True))
"""Code → name of each lesion."""
BUNDLE = find_bundle("octa_dr_lesion_segmentation")
IMAGES = "A. Segmentation/1. Original Images"
TRAINING_IMAGES, TEST_IMAGES = f"{IMAGES}/a. Training Set", f"{IMAGES}/b. Testing Set"
MASKS = "A. Segmentation/2. Groundtruths/a. Training Set"

SIZE = (64, 32)
"""Of the stand-ins: each of their pixels is the mean of 2x4 of a phantom of 128x128."""
SMALL: dict[str, Any] = {"device": "$torch.device('cpu')", "precision": "float32"}


def official_masks(data: Path, image: str) -> dict[str, np.ndarray]:
    """Name of each lesion → mask (H, W) bool of an image to train on; none where the lesion is absent."""
    folders = sorted((data / MASKS).iterdir())
    files = {lesion: folder / f"{image}.png" for lesion, folder in zip(OCTA_LESIONS, folders, strict=True)}
    return {lesion: np.asarray(Image.open(file)) > 0 for lesion, file in files.items() if file.is_file()}


def network_input(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float64: an image at the networks' size, its own mean 0 and standard deviation 1."""
    small = shrink(np.asarray(Image.open(path)).astype(float), size, np.mean)
    return (small - small.mean()) / small.std()


SETTINGS = {"IRMA": (2.0, -3.05), "NPA": (-3.0, -3.1), "NV": (1.5, -4.2)}
"""Gain and offset of each stand-in; the last finds nothing in some of the phantoms."""


def steps(image: Any, gain: Any, offset: Any) -> Any:
    """Probability in 8 steps of the brightness; none is 0.5 after a bilinear interpolation from `SIZE` to 128x128."""
    return ((image * gain + offset + 4) // 1).clip(0, 7) / 8 + 0.3 / 8


class Steps(nn.Module):
    """Stands for a network; gain and offset are its weights."""

    inputs: ClassVar[list[torch.Tensor]] = []
    """What the networks were given."""

    def __init__(self, gain: float = 0.0, offset: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("gain", torch.tensor(gain))
        self.register_buffer("offset", torch.tensor(offset))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.inputs.append(x)
        return torch.logit(steps(x, self.gain, self.offset))


def expected_maps(path: Path, codes: Iterable[str] = CODES) -> np.ndarray:
    """(lesions, H, W) probabilities that the stand-ins give an image."""
    height, width = np.asarray(Image.open(path)).shape
    small = network_input(path, SIZE)
    return np.stack([enlarge(steps(small, *SETTINGS[code]), (height, width)) for code in codes])


def save_weights(folder: Path, codes: Iterable[str] = CODES) -> Path:
    """Write the stand-ins' weights as trainings would."""
    folder.mkdir(exist_ok=True)
    for code in codes:
        torch.save(Steps(*SETTINGS[code]).state_dict(), folder / f"{code}.pt")
    return folder


STAND_INS: dict[str, Any] = {
    **SMALL,
    "spatial_size": list(SIZE),
    "network_types": {"steps": Steps},
    "architectures": dict.fromkeys(CODES, "steps"),
}
"""Overrides that build the stand-ins."""


def infer(
    images: Path,
    output: Path,
    models: Path,
    overrides: Mapping[str, Any] = STAND_INS,
    *presets: str,
    run_id: str = "inference",
) -> None:
    places = {"dataset_dir": images.as_posix(), "output_dir": output.as_posix(), "ckpt_path": models.as_posix()}
    configs = ["inference", *presets]
    run_workflow(build_workflow(BUNDLE, configs, {**overrides, **places}, "infer", run_id))


def evaluate(data: Path, output: Path, models: Path, overrides: Mapping[str, Any] = STAND_INS, *presets: str) -> None:
    places = {"dataset_dir": data.as_posix(), "output_dir": output.as_posix(), "ckpt_path": models.as_posix()}
    configs = ["train", *presets, "evaluate"]
    run_workflow(build_workflow(BUNDLE, configs, {**overrides, **places}, "train", "evaluate"))


def training(data: Path, folder: Path, overrides: Mapping[str, Any], *presets: str) -> ConfigWorkflow:
    """A training whose models and output lie in `folder`, not started."""
    places = {
        "dataset_dir": data.as_posix(),
        "ckpt_dir": (folder / "models").as_posix(),
        "output_dir": (folder / "output").as_posix(),
    }
    return build_workflow(
        BUNDLE, ["train", *presets], {**SMALL, "num_workers": 0, **places, **overrides}, "train", "training"
    )


def sentence(problem: BaseException) -> str:
    """The one sentence of bad input below what MONAI wraps it into."""
    found = find_input_error(problem)
    assert found is not None, problem
    text = str(found)
    assert text.endswith(".")
    assert "\n" not in text
    return text
