"""Balanced cross-entropy over the lesion and the hardest of the background: the loss of Red-Seg's first stage."""

from __future__ import annotations

import torch
from monai.utils import convert_to_tensor
from torch.nn import functional
from torch.nn.modules.loss import _Loss

from tinylesions.losses.binary_target import check_binary_target

__all__ = ["TopKBalancedCELoss"]


class TopKBalancedCELoss(_Loss):
    """Cross-entropy of all positive pixels and of the λ hardest negative ones, balanced by their numbers.

    Red-Seg paper (000), section 2.2.1: −β Σ_{y=1} log p − (1−β) Σ_{top} log(1−p), where *top* are the λ negatives with
    the largest loss and β = λ / (λ + N₊). Each channel of each image counts its own λ and N₊. λ is the share
    `negative_share` of the image's negatives, rounded, but at least N₊ and at least 1. An image that holds only one
    kind of pixel gets β = ½, where the formula would give it no loss.

    The paper lets λ fall as the training goes on: `negative_share` may be set at any time, see
    :class:`tinylesions.handlers.NegativeShareSchedule`.

    Args:
        negative_share: share of the negatives that count, λ₀ of the paper, in [0, 1].
        reduction: `"sum"` over pixels, channels and images (the paper's), or `"mean"`: the mean over images and
            channels of each one's sum divided by its pixels' weights β and 1−β in sum.

    Raises:
        ValueError: a share outside [0, 1], or another `reduction`.

    Example:
        >>> loss = TopKBalancedCELoss(negative_share=0.5, reduction="mean")
        >>> target = torch.zeros(1, 1, 4, 4)
        >>> target[..., 0] = 1
        >>> loss(torch.zeros(1, 1, 4, 4), target)
        tensor(0.6931)
    """

    def __init__(self, negative_share: float = 0.14, reduction: str = "sum") -> None:
        if reduction not in ("sum", "mean"):
            raise ValueError(f"reduction must be 'sum' or 'mean', not {reduction!r}.")
        super().__init__(reduction=reduction)
        self.negative_share = negative_share

    @property
    def negative_share(self) -> float:
        """Share of each image's negative pixels that count."""
        return self._negative_share

    @negative_share.setter
    def negative_share(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"negative_share must be between 0 and 1, not {share!r}.")
        self._negative_share = share

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
        logits, positive = logits.flatten(2), truth.flatten(2) != 0
        counts = positive.sum(-1).tolist()
        losses = [
            self._map_loss(logits[image, channel], positive[image, channel], count)
            for image, channels in enumerate(counts)
            for channel, count in enumerate(channels)
        ]
        total = torch.stack(losses)
        return total.sum() if self.reduction == "sum" else total.mean()

    def _map_loss(self, logits: torch.Tensor, positive: torch.Tensor, positives: int) -> torch.Tensor:
        """Loss of one channel of one image, from its pixels (P,)."""
        negatives = len(logits) - positives
        hard = min(negatives, max(round(self.negative_share * negatives), positives, 1))
        beta = hard / (hard + positives) if hard and positives else 0.5
        # the loss of a negative grows with its logit, so that no loss needs to be known for the choice; topk does not
        # sort, and equal logits have equal losses, whichever of them it takes
        hardest = logits.masked_fill(positive, -torch.inf).topk(hard, sorted=False).values
        total = beta * _softplus_sum(-logits[positive]) + (1 - beta) * _softplus_sum(hardest)
        return total if self.reduction == "sum" else total / (beta * positives + (1 - beta) * hard)


def _softplus_sum(logits: torch.Tensor) -> torch.Tensor:
    """Σ log(1 + exp(z)); half precision is summed in float32."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    return functional.softplus(logits.to(wide)).sum()
