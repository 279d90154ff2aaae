"""What the losses of sigmoid networks ask of their target."""

from __future__ import annotations

import torch

__all__ = ["check_binary_target"]


def check_binary_target(input: torch.Tensor, target: torch.Tensor) -> None:
    """Raise ValueError unless `target` has the shape of the logits `input` and no values but 0 and 1."""
    if input.shape != target.shape:
        raise ValueError(
            f"The target has the shape {tuple(target.shape)}, but logits of {tuple(input.shape)} need a mask for each"
            " of their channels."
        )
    # a label map of one channel and a mask resampled with interpolation have the right shape too
    if not bool(((target != 0) == target).all()):
        raise ValueError("The target has values other than 0 and 1; give masks, not a label map or probabilities.")
