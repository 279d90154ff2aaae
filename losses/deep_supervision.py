"""The mean of a loss over the outputs of a deeply supervised network."""

from __future__ import annotations

import torch
from monai.losses import DeepSupervisionLoss
from torch.nn.modules.loss import _Loss

__all__ = ["MeanDeepSupervisionLoss"]


class MeanDeepSupervisionLoss(DeepSupervisionLoss):
    """Mean of `loss` over all outputs, where MONAI's `DeepSupervisionLoss` takes a weighted sum.

    Multi-task UNet++ paper (001), section 1.5, equation 6. One output alone, as in eval mode, gives `loss` itself.

    Args:
        loss: any loss of logits (N, K, H, W) and a target as MONAI's losses take it.

    Example:
        >>> from tinylesions.losses import CrossEntropyLoss
        >>> loss = MeanDeepSupervisionLoss(CrossEntropyLoss())
        >>> loss(torch.zeros(2, 4, 3, 8, 8), torch.ones(2, 1, 8, 8))
        tensor(1.0986)
    """

    def __init__(self, loss: _Loss) -> None:
        super().__init__(loss)

    def get_weights(self, levels: int = 1) -> list[float]:
        """Return the same weight for each of `levels` outputs, 1 in sum."""
        return [1 / levels] * levels

    def forward(self, input: torch.Tensor | list[torch.Tensor] | None, target: torch.Tensor) -> torch.Tensor:
        """Return the mean loss.

        Args:
            input: float logits of all outputs, stacked (N, outputs, K, H, W) or as a list of (N, K, H, W), or of one
                output, (N, K, H, W).
            target: label map (N, 1, H, W) or one-hot (N, K, H, W).

        Raises:
            ValueError: when `input` is a tensor with neither as many dimensions as `target` nor one more.
        """
        if isinstance(input, torch.Tensor) and input.ndim != target.ndim:
            if input.ndim != target.ndim + 1:
                raise ValueError(
                    f"The logits have the shape {tuple(input.shape)}: with a target of {tuple(target.shape)} they must "
                    f"be (N, K, H, W), or (N, outputs, K, H, W) for several outputs."
                )
            input = list(input.unbind(1))
        return super().forward(input, target)
