from __future__ import annotations

from typing import ClassVar

import pytest

from tinylesions.datasets import LESIONS

from .config_tester import ConfigTester


class TestC(ConfigTester):
    name = "fundus_dr_grading_segmentation"
    roads: ClassVar = {
        **ConfigTester.roads,
        ("train", "training_grading"): "training_grading",
        ("train", "training_segmentation"): "training_segmentation",
        ("train", "evaluate", "grad_cam"): "grad_cam",
        ("train", "pseudo_label"): "pseudo_label",
    }
