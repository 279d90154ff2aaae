"""Histology phantoms read past the bundle's own readers, and networks that stand for trained ones."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image
from scipy.special import expit, softmax
from skimage.draw import polygon2mask

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.monai_bundles import find_bundle

from .configs import merge

BUNDLE = find_bundle("pathology_nuclei_imbalance_segmentation")
CLASSES = ("background", "neutrophil", "epithelial", "lymphocyte", "plasma", "eosinophil", "connective")
FOUR_CLASSES = ("background", "round", "long", "dark")
"""Of a data set in CoNIC's layout that is not CoNIC."""
MONUSAC_CLASSES = ("background", "epithelial", "lymphocyte", "macrophage", "neutrophil")
MODELS = ("multi_class", "binary")
RESULTS = (*MODELS, "combined")
SPLITS = {"training": [4, 5, 6, 7, 12, 13, 14, 15], "validation": [0, 1, 2, 3], "test": [8, 9, 10, 11]}
"""Split → places of CoNIC's phantoms in their arrays, which are of four sources with four patches each."""
TILES = "tiles"
"""Folder of the phantoms to test on as pictures."""

SMALL: dict[str, Any] = {"device": "$torch.device('cpu')", "precision": "float32", "roi_size": [48, 48]}
SHORT: dict[str, Any] = {"num_workers": 0, "max_epochs": 2}

COLOURS = np.array(
    [
        [225, 190, 215],
        [60, 30, 100],
        [150, 110, 170],
        [100, 70, 140],
        [120, 80, 170],
        [250, 60, 60],
        [190, 150, 200],
    ]
)
"""What the stand-ins take each class for, the background first; nothing is as red as their eosinophils."""
BRIGHTNESS = 500
"""The sum of red, green and blue up to which the binary stand-in sees a nucleus."""


def stand_in_weights(model: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (count, 3) and offsets (count,) of values from 0 to 255; no two classes are ever equally probable.

    Of two colours the nearer one is the more probable: −|x − c|² without |x|², which all classes share.
    """
    if model == "binary":
        return np.full((1, 3), -1 / 100), np.array([(BRIGHTNESS + 0.5) / 100])
    colours = COLOURS[:count] - COLOURS[0]
    middle = (COLOURS[:count] ** 2).sum(1) - (COLOURS[0] ** 2).sum()
    return 2 * colours / 2000, (np.arange(count) / 8 - middle) / 2000


STAND_INS: dict[str, Any] = {
    **SMALL,
    "network_types": {
        "pixels": {"_target_": "torch.nn.Conv2d", "_mode_": "callable", "in_channels": 3, "kernel_size": 1}
    },
    "architectures": dict.fromkeys(MODELS, "pixels"),
}
"""Overrides that build the stand-ins, which see nothing but a pixel's colour."""


def save_weights(folder: Path, models: Iterable[str] = MODELS, classes: Sequence[str] = CLASSES, **record: Any) -> Path:
    """Write the stand-ins' weights, and what they are of, as trainings would."""
    folder.mkdir(exist_ok=True)
    text = json.dumps({"class_names": classes, "networks": {}, **record})
    (folder / "training.json").write_text(text, encoding="utf-8")
    for model in models:
        weights, offsets = stand_in_weights(model, len(classes))
        state = {"weight": weights[:, :, None, None] * 255, "bias": offsets}
        torch.save({key: torch.from_numpy(value).float() for key, value in state.items()}, folder / f"{model}.pt")
    return folder


def probabilities(tile: np.ndarray, model: str, count: int = len(CLASSES)) -> np.ndarray:
    """(classes, H, W) that a stand-in gives a tile (H, W, 3) of values from 0 to 255; one channel of the binary one."""
    weights, offsets = stand_in_weights(model, count)
    logits = np.einsum("kc,hwc->khw", weights, tile.astype(float)) + offsets[:, None, None]
    return expit(logits) if model == "binary" else softmax(logits, axis=0)


def combine(multi_class: np.ndarray, binary: np.ndarray) -> np.ndarray:
    """One pixel after the other: background where the binary network says so, else the class."""
    combined = np.zeros_like(multi_class)
    for row in range(len(multi_class)):
        for column in range(len(multi_class[0])):
            if binary[row, column] == 1:
                combined[row, column] = multi_class[row, column]
    return combined


def class_maps(tile: np.ndarray, count: int = len(CLASSES)) -> dict[str, np.ndarray]:
    """Result → class of each pixel (H, W) that the stand-ins give a tile."""
    multi_class = probabilities(tile, "multi_class", count).argmax(0)
    binary = (probabilities(tile, "binary")[0] > 0.5).astype(int)
    return {"multi_class": multi_class, "binary": binary, "combined": combine(multi_class, binary)}


def conic_arrays(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """All phantoms (N, H, W, 3) and their classes (N, H, W)."""
    return np.load(data / "images.npy"), np.load(data / "labels.npy")[..., 1]


def split_pixels(
    data: Path, split: str = "test", count: int = len(CLASSES)
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """True class of all pixels of a split, and the stand-ins' by result."""
    images, truth = conic_arrays(data)
    found = [class_maps(image, count) for image in images[SPLITS[split]]]
    return truth[SPLITS[split]].ravel(), {
        result: np.concatenate([maps[result].ravel() for maps in found]) for result in RESULTS
    }


def outlined(tile: Path, size: tuple[int, int]) -> np.ndarray:
    """Class of each pixel (H, W) that lies in a polygon of a tile's XML, read past the bundle's reader."""
    classes = np.zeros(size, int)
    text = tile.with_suffix(".xml").read_text(encoding="utf-8")
    for annotation in text.split("<Annotation ")[1:]:
        (name,) = re.findall(r'Attribute Name="(\w+)"', annotation)
        for region in annotation.split("<Region ")[1:]:
            points = re.findall(r'X="([-\d.]+)" Y="([-\d.]+)"', region)
            corners = [(float(y), float(x)) for x, y in points]
            classes[polygon2mask(size, corners)] = MONUSAC_CLASSES.index(name.lower())
    return classes


def read_map(path: Path) -> np.ndarray:
    """Class of each pixel (H, W) of a PNG with a palette."""
    image = Image.open(path)
    assert image.mode == "P"
    return np.asarray(image)


def own(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy, into whose dictionaries a config writes what is laid over them."""
    return copy.deepcopy(dict(overrides))


def infer(
    tiles: Path, output: Path, models: Path, overrides: Mapping[str, Any] = STAND_INS, *presets: str
) -> ConfigWorkflow:
    places = {"dataset_dir": tiles.as_posix(), "output_dir": output.as_posix(), "ckpt_path": models.as_posix()}
    workflow = build_workflow(BUNDLE, ["inference", *presets], {**own(overrides), **places}, "infer", "inference")
    run_workflow(workflow)
    return workflow


def evaluate(
    data: Path, output: Path, models: Path, overrides: Mapping[str, Any] = STAND_INS, presets: Sequence[str] = ()
) -> ConfigWorkflow:
    places = {"dataset_dir": data.as_posix(), "output_dir": output.as_posix(), "ckpt_path": models.as_posix()}
    configs = ["train", *presets, "evaluate"]
    overrides = {"num_workers": 0, **own(overrides), **places}
    workflow = build_workflow(BUNDLE, configs, overrides, "train", "evaluate")
    run_workflow(workflow)
    return workflow


def training(
    data: Path, folder: Path, overrides: Mapping[str, Any], run_id: str = "training", presets: Sequence[str] = ()
) -> ConfigWorkflow:
    """A training whose models and output lie in `folder`, not started."""
    places = {
        "dataset_dir": data.as_posix(),
        "ckpt_dir": (folder / "models").as_posix(),
        "output_dir": (folder / "output").as_posix(),
    }
    return build_workflow(BUNDLE, ["train", *presets], {**SMALL, **SHORT, **places, **own(overrides)}, "train", run_id)


def build(data: Path, folder: Path, overrides: Mapping[str, Any], *presets: str) -> ConfigParser:
    """The config of a training, to look at one of its parts."""
    parser = merge(BUNDLE.config_files("train", *presets))
    parser.update({**SMALL, **SHORT, "dataset_dir": str(data), "output_dir": str(folder), **own(overrides)})
    return parser
