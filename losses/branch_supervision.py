"""The sum of a loss over the side outputs and the fused output of each lesion's branch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.modules.loss import _Loss

__all__ = ["BranchSupervisionLoss"]


class BranchSupervisionLoss(_Loss):
    """Sum of `loss` over the heads of every lesion's branch; branches may have different numbers of heads.

    Red-Seg paper (000), section 2.1: three side outputs and the fused one, four losses a branch, eight in all.

    Args:
        loss: a loss of one head's logits and its lesion's mask, (N, 1, H, W) each, such as `TopKBalancedCELoss`.
        head_counts: how many heads each lesion's branch has, counted from the last: `RedSeg.head_counts`. By default
            all that the network gives.

    Raises:
        ValueError: when `head_counts` is empty or names a branch without heads.

    Example:
        >>> from tinylesions.losses import SquaredErrorLoss
        >>> loss = BranchSupervisionLoss(SquaredErrorLoss("mean"), head_counts=[4, 3])
        >>> loss(torch.zeros(1, 4, 2, 8, 8), torch.ones(1, 2, 8, 8))
        tensor(1.7500)
    """

    def __init__(self, loss: _Loss, head_counts: Sequence[int] | None = None) -> None:
        super().__init__()
        if head_counts is not None and min(head_counts, default=0) < 1:
            raise ValueError(f"head_counts must name one head or more for each lesion, not {head_counts!r}.")
        self.loss = loss
        self.head_counts = None if head_counts is None else list(head_counts)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the sum of the losses, a scalar; each head's is reduced as `loss` does.

        Args:
            input: float logits of all heads (N, heads, K, H, W), or of one, (N, K, H, W), as in eval mode.
            target: masks (N, K, H, W).

        Raises:
            ValueError: when the shapes do not belong together, or `head_counts` names another number of lesions or
                more heads than `input` has.
        """
        one_head = input.ndim == target.ndim
        heads = input.unsqueeze(1) if one_head else input
        if target.ndim != 4 or heads.shape[:1] + heads.shape[2:] != target.shape:
            raise ValueError(
                f"The logits have the shape {tuple(input.shape)}: with a target of {tuple(target.shape)} they must be"
                " (N, K, H, W), or (N, heads, K, H, W) for several heads."
            )
        available, lesions = heads.shape[1:3]
        counts = self.head_counts or [available] * lesions
        if one_head:
            counts = [1] * len(counts)
        if len(counts) != lesions or max(counts) > available:
            raise ValueError(
                f"The logits have {available} heads for each of {lesions} lesions, which does not fit head_counts"
                f" {self.head_counts}."
            )
        losses = [
            self.loss(logits, truth)
            for branch, truth, count in zip(heads.unbind(2), target.split(1, dim=1), counts, strict=True)
            for logits in branch.split(1, dim=1)[-count:]
        ]
        return torch.stack(losses).sum()
