"""Cross-entropy over classes, for the shapes in which MONAI hands over its targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from tinylesions.losses.label_map import label_map, two_classes

__all__ = ["CrossEntropyLoss"]


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """Softmax cross-entropy from logits, `torch.nn.CrossEntropyLoss` for MONAI's label shapes.

    Multi-task UNet++ paper (001), section 1.5, equation 5. The softmax is inside, so the network gives logits. Logits
    of one channel are those of the foreground: a sigmoid is inside, background 0 and foreground 1 are the classes.

    Args:
        weight: one weight for each class (two for logits of one channel), or `None` for equal ones.
        reduction: `"mean"` over pixels (over their weights, as torch does; 0 where all weights are 0), `"sum"`, or
            `"none"` for (N, H, W).

    Raises:
        ValueError: for another `reduction`.

    Example:
        >>> loss = CrossEntropyLoss(weight=[0.5, 1.0, 1.0])
        >>> loss(torch.zeros(2, 3, 8, 8), torch.ones(2, 1, 8, 8, dtype=torch.uint8))
        tensor(1.0986)
    """

    def __init__(self, weight: Sequence[float] | torch.Tensor | None = None, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}.")
        super().__init__(None if weight is None else torch.as_tensor(weight, dtype=torch.float32), reduction=reduction)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar unless `reduction` is `"none"`.

        Args:
            input: float logits (N, K, H, W), K = 1 for background and foreground.
            target: label map (N, 1, H, W) of any dtype with values 0 to K - 1 (0 and 1 where K = 1), or one-hot
                (N, K, H, W).

        Raises:
            ValueError: when the shapes do not belong together, or a one-hot target gives a pixel no class or several.
        """
        labels, input = label_map(input, target), two_classes(input)
        if self.weight is None or self.reduction != "mean":
            return functional.cross_entropy(input, labels, self.weight, reduction=self.reduction)
        # torch's own mean is 0 / 0 where every pixel's class has weight 0
        total = self.weight[labels].sum().clamp_min(torch.finfo(self.weight.dtype).tiny)
        return functional.cross_entropy(input, labels, self.weight, reduction="sum") / total
