"""A bundle that trains on windows cuts the same ones fast and plainly, and one key picks the way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader
from monai.utils import set_determinism

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import LESIONS
from tinylesions.monai_bundles import find_bundle
from tinylesions.transforms import CachedWindowLoader

from .configs import merge

pytestmark = pytest.mark.filterwarnings("ignore:.*photos for training/validation/test")

BUNDLE = find_bundle("fundus_multi_lesion_segmentation")
OPTIONS = {"roi_size": [32, 32], "window_overlap": 0.5, "num_workers": 0, "device": "$torch.device('cpu')"}


def parser(data: Path, **overrides: Any) -> ConfigParser:
    config = merge(BUNDLE.config_files("train"))
    config.update({"dataset_dir": str(data), **OPTIONS, **overrides})
    return config


def loader(data: Path, **overrides: Any) -> Any:
    set_determinism(0)
    return parser(data, **overrides).get_parsed_content("train#dataloader")


def unturned(image: torch.Tensor, label: torch.Tensor) -> bytes:
    """A window's bytes, the same whichever of the eight symmetries it went through."""
    both = torch.cat([image.mul(255).round(), label.float()])
    return min(side.rot90(n, (1, 2)).numpy().tobytes() for side in (both, both.flip(1)) for n in range(4))


def test_both_ways_give_the_same_windows(idrid_phantoms):
    ways = {fast: loader(idrid_phantoms, cache_windows=fast) for fast in (True, False)}
    assert isinstance(ways[True], CachedWindowLoader)
    assert isinstance(ways[False], DataLoader)
    assert len(ways[True]) == len(ways[False])
    windows = {
        fast: Counter(
            unturned(*(torch.as_tensor(part) for part in pair))
            for batch in way
            for pair in zip(batch["image"], batch["label"], strict=True)
        )
        for fast, way in ways.items()
    }
    assert windows[True] == windows[False]
    assert windows[True].total() > 50


@pytest.mark.parametrize("fast", [True, False])
def test_sampling_is_obeyed(idrid_phantoms, fast):
    options = {"lesion_free_share": 0.5, "windows_per_epoch": 200, "positive_share": 0.7}
    weights = dict.fromkeys(LESIONS, 1)
    batches = list(loader(idrid_phantoms, cache_windows=fast, lesion_weights=weights, **options))
    labels = torch.cat([torch.as_tensor(batch["label"]) for batch in batches]).flatten(1)
    assert len(labels) == 200
    assert ((labels > 0) & (labels < 5)).any(1).sum() == 140
    for index in range(1, 5):
        assert (labels == index).any(1).sum() >= 35


def test_the_way_that_is_not_picked_is_not_built(idrid_phantoms):
    fast, plain = (parser(idrid_phantoms, cache_windows=way) for way in (True, False))
    assert fast.get_parsed_content("train#plain_dataloader") is None
    assert fast.get_parsed_content("train#windows") == []
    assert plain.get_parsed_content("train#cached_dataloader") is None


def test_training_the_plain_way(idrid_phantoms, tmp_path):
    overrides = {
        **OPTIONS,
        "dataset_dir": idrid_phantoms,
        "ckpt_dir": tmp_path,
        "output_dir": tmp_path,
        "widths": [4, 4, 4, 4, 4],
        "windows_per_epoch": 16,
        "batch_size": 8,
        "max_epochs": 1,
        "cache_windows": False,
    }
    workflow = build_workflow(BUNDLE, ["train"], overrides, "train", "training")
    run_workflow(workflow)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["trainer"]["iteration"] == 2
