"""A light network with random weights, the record beside them, and a folder of one's own phantoms."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tinylesions.datasets import record_training, store_thresholds
from tinylesions.networks import EfficientNetUNet

WIDTHS = [4, 4, 4, 4]
SIDE = 128
"""The longer side of the photos as the network gets them."""


def save_light_weights(
    folder: Path, lesions: Sequence[str], thresholds: Mapping[str, float] | None = None, seed: int = 0, **shared: Any
) -> Path:
    """Write ``model.pt`` and ``training.json`` of random weights whose probabilities differ from pixel to pixel."""
    torch.manual_seed(seed)
    network = EfficientNetUNet(out_channels=len(lesions), widths=WIDTHS, prior=0.5).eval()
    torch.nn.init.normal_(network.head.weight, std=20)
    with torch.no_grad():  # flat grey has 0.5 in the median, so that a photo's probabilities lie on both sides of it
        grey = network(torch.zeros(1, 3, SIDE, SIDE)).flatten(2).median(dim=-1).values[0]
        network.head.bias -= grey.repeat_interleave(4)
    usage = {
        "activation": "sigmoid",
        "crop_method": "threshold",
        "longest_side": SIDE,
        "background_sigma": 0.1,
        "flips": [[], [1]],
    }
    built = {"architecture": "efficientnet_unet", "arguments": {"widths": WIDTHS}}
    record_training(folder, "model", built, lesions=list(lesions), **{**usage, **shared})
    if thresholds:
        store_thresholds(folder, thresholds)
    torch.save(network.state_dict(), folder / "model.pt")
    return folder / "model.pt"


def write_own_folder(idrid: Path, root: Path) -> Path:
    """Write three of IDRiD's phantoms as a user would their own photos; the second validates.

    All show haemorrhages, the first two "drusen", which are its hard exudates, and the first soft exudates.
    """
    images = idrid / "A. Segmentation" / "1. Original Images" / "a. Training Set"
    masks = idrid / "A. Segmentation" / "2. All Segmentation Groundtruths" / "a. Training Set"
    shutil.copytree(images, root / "images")
    given = {"HE": ("2. Haemorrhages", "HE", "123"), "drusen": ("3. Hard Exudates", "EX", "12")}
    for lesion, (folder, code, photos) in {**given, "soft_exudate": ("4. Soft Exudates", "SE", "1")}.items():
        (root / "masks" / lesion).mkdir(parents=True)
        for photo in photos:
            shutil.copy(masks / folder / f"IDRiD_0{photo}_{code}.tif", root / "masks" / lesion / f"IDRiD_0{photo}.tif")
    rows = "IDRiD_01,training\nIDRiD_02,validation\nIDRiD_03,training\n"
    (root / "photos.csv").write_text(f"photo,split\n{rows}", encoding="utf-8")
    return root


def read_image(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)
