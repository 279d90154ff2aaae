"""Squared error of probabilities: the loss of Red-Seg's second stage."""

from __future__ import annotations

import torch
from monai.utils import convert_to_tensor
from torch.nn import functional
from torch.nn.modules.loss import _Loss

from tinylesions.losses.binary_target import check_binary_target

__all__ = ["SquaredErrorLoss"]


class SquaredErrorLoss(_Loss):
    """False negatives and false positives in sum, Σ y(1−p)² + Σ (1−y)p² = Σ (y−p)², with p = sigmoid(logit).

    Red-Seg paper (000), section 2.2.2. Lesions are so rare that nothing can be learnt with it from scratch: it refines
    a network that has been trained with another loss.

    Args:
        reduction: `"sum"` over pixels, channels and images (the paper's), or `"mean"`.

    Raises:
        ValueError: for another `reduction`.

    Example:
        >>> SquaredErrorLoss()(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
        tensor(1.)
    """

    def __init__(self, reduction: str = "sum") -> None:
        if reduction not in ("sum", "mean"):
            raise ValueError(f"reduction must be 'sum' or 'mean', not {reduction!r}.")
        super().__init__(reduction=reduction)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar of float32 or wider.

        Args:
            input: float logits (N, K, H, W).
            target: masks of 0 and 1 of the same shape and any dtype.

        Raises:
            ValueError: when the shapes differ, or the target has other values.
        """
        logits, truth = (convert_to_tensor(tensor, track_meta=False) for tensor in (input, target))
        check_binary_target(logits, truth)
        wide = torch.promote_types(logits.dtype, torch.float32)
        return functional.mse_loss(torch.sigmoid(logits.to(wide)), truth.to(wide), reduction=self.reduction)
