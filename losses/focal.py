"""Focal loss as a mean over pixels, weighed by class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import FocalLoss
from monai.utils import convert_to_tensor

from tinylesions.losses.label_map import label_map, two_classes

__all__ = ["PixelFocalLoss"]


class PixelFocalLoss(FocalLoss):
    """Mean over pixels of −αᵢ (1 − p)^γ log p, with p the probability of the pixel's true class i.

    Class imbalance paper (004), equation 2.2. MONAI's `FocalLoss` is the mean over pixels and classes, which is K times
    less. Logits of one channel are those of the foreground, for which this is equation 2.1 with α the foreground's
    weight and 1 − α the background's. γ is 2 as in Lin et al., 2017; the paper does not name it. Sums are in float32.

    Args:
        weight: αᵢ of each class, background first, 0 or more; two for logits of one channel. `None` for ones.
        gamma: γ.

    Example:
        >>> loss = PixelFocalLoss(weight=[0.1, 0.3, 0.6])
        >>> loss(torch.zeros(2, 3, 8, 8), torch.full((2, 1, 8, 8), 2))
        tensor(0.2930)
        >>> PixelFocalLoss(weight=[0.2, 0.8])(torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8))
        tensor(0.1386)
    """

    def __init__(self, weight: Sequence[float] | torch.Tensor | None = None, gamma: float = 2.0) -> None:
        super().__init__(to_onehot_y=True, use_softmax=True, gamma=gamma, weight=weight)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a float32 scalar.

        Args:
            input: float logits (N, K, H, W), K = 1 for background and foreground.
            target: label map (N, 1, H, W) of any dtype with values 0 to K - 1 (0 and 1 where K = 1), or one-hot
                (N, K, H, W).

        Raises:
            ValueError: when the shapes do not belong together, a one-hot target gives a pixel no class or several, or
                there are not as many weights as classes or one is negative.
        """
        logits, truth = (convert_to_tensor(tensor, track_meta=False) for tensor in (input, target))
        labels = label_map(logits, truth).unsqueeze(1)
        logits = two_classes(logits)
        return super().forward(logits, labels) * logits.shape[1]
