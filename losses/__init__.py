"""Losses of the papers that MONAI lacks: logits and targets in, a scalar out."""

from __future__ import annotations

from tinylesions.losses.cross_entropy import CrossEntropyLoss
from tinylesions.losses.deep_supervision import MeanDeepSupervisionLoss

__all__ = ["CrossEntropyLoss", "MeanDeepSupervisionLoss"]
