"""Losses of the papers that MONAI lacks: logits and targets in, a scalar out."""

from __future__ import annotations

from tinylesions.losses.branch_supervision import BranchSupervisionLoss
from tinylesions.losses.build import build_loss
from tinylesions.losses.class_balanced import ClassBalancedCELoss
from tinylesions.losses.class_weights import class_weights
from tinylesions.losses.compound import CompoundLoss
from tinylesions.losses.cross_entropy import CrossEntropyLoss
from tinylesions.losses.deep_supervision import MeanDeepSupervisionLoss
from tinylesions.losses.focal import PixelFocalLoss
from tinylesions.losses.multi_task import MultiTaskLoss
from tinylesions.losses.online_bootstrapping import OnlineBootstrappingLoss
from tinylesions.losses.squared_error import SquaredErrorLoss
from tinylesions.losses.top_k_balanced import TopKBalancedCELoss

__all__ = [
    "BranchSupervisionLoss",
    "ClassBalancedCELoss",
    "CompoundLoss",
    "CrossEntropyLoss",
    "MeanDeepSupervisionLoss",
    "MultiTaskLoss",
    "OnlineBootstrappingLoss",
    "PixelFocalLoss",
    "SquaredErrorLoss",
    "TopKBalancedCELoss",
    "build_loss",
    "class_weights",
]
