"""What the losses over classes read: class numbers from either kind of target, two classes from one channel."""

from __future__ import annotations

import torch

__all__ = ["label_map", "two_classes"]


def label_map(input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the (N, H, W) int64 label map of a label map with a channel or of a one-hot target.

    Args:
        input: logits (N, K, H, W).
        target: label map (N, 1, H, W) of any dtype, or one-hot (N, K, H, W).

    Raises:
        ValueError: when the shapes do not belong together, or a one-hot target gives a pixel no class or several.
    """
    if target.ndim == input.ndim and target.shape[0] == input.shape[0] and target.shape[2:] == input.shape[2:]:
        if target.shape[1] == 1:
            return target.squeeze(1).long()
        if target.shape[1] == input.shape[1]:
            chosen = target != 0
            if not bool((chosen.sum(1) == 1).all()):
                raise ValueError("The target is not one-hot: some pixels have no class or several; give a label map.")
            return chosen.long().argmax(1)
    raise ValueError(
        f"The target has the shape {tuple(target.shape)}, but logits of {tuple(input.shape)} need a label map with one "
        f"channel or a one-hot target of the logits' shape."
    )


def two_classes(logits: torch.Tensor) -> torch.Tensor:
    """Return logits (N, 2, H, W) of one channel's (N, 1, H, W): softmax gives 1 − sigmoid and sigmoid.

    Logits of several channels are returned as they are.
    """
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits
