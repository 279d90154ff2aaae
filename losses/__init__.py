"""Losses of the papers that MONAI lacks: logits and targets in, a scalar out."""

from __future__ import annotations

from tinylesions.losses.branch_supervision import BranchSupervisionLoss
from tinylesions.losses.class_balanced import ClassBalancedCELoss
from tinylesions.losses.cross_entropy import CrossEntropyLoss
from tinylesions.losses.deep_supervision import MeanDeepSupervisionLoss
from tinylesions.losses.multi_task import MultiTaskLoss
from tinylesions.losses.squared_error import SquaredErrorLoss
from tinylesions.losses.top_k_balanced import TopKBalancedCELoss

__all__ = [
    "BranchSupervisionLoss",
    "ClassBalancedCELoss",
    "CrossEntropyLoss",
    "MeanDeepSupervisionLoss",
    "MultiTaskLoss",
    "SquaredErrorLoss",
    "TopKBalancedCELoss",
]
