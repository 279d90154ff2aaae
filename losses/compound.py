"""The sum of several losses of the same logits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.utils import convert_to_tensor
from torch import nn
from torch.nn.modules.loss import _Loss

__all__ = ["CompoundLoss"]


class CompoundLoss(_Loss):
    """Sum of losses of one input and one target.

    Class imbalance paper (004), equation 3.6: any of its losses together, each a mean of its own. Each of them gets
    the logits in float32 or wider and both as plain tensors, since MONAI's region losses sum over all pixels of an
    image in the type of the logits, where float16 overflows.

    Args:
        losses: name → loss of logits and a target, one or more.
        weights: name → what a loss is multiplied by, 1 for those that are not named.

    Raises:
        ValueError: there is no loss, or a weight is of none of them.

    Example:
        >>> from monai.losses import DiceLoss
        >>> from tinylesions.losses import CrossEntropyLoss
        >>> dice = DiceLoss(to_onehot_y=True, softmax=True)
        >>> loss = CompoundLoss({"cross_entropy": CrossEntropyLoss(), "dice": dice})
        >>> loss(torch.zeros(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8))) > 1.0986
        tensor(True)
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None) -> None:
        if not losses:
            raise ValueError("A sum needs one loss or more, but losses names none.")
        self.weights = dict.fromkeys(losses, 1.0) | dict(weights or {})
        if self.weights.keys() != losses.keys():
            raise ValueError(f"The losses are {list(losses)}, but there are weights of {list(self.weights)}.")
        super().__init__()
        self.losses = nn.ModuleDict(losses)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the sum, a scalar.

        Args:
            input: float logits (N, K, H, W).
            target: label map (N, 1, H, W), or what else all of the losses take.
        """
        logits, truth = (convert_to_tensor(tensor, track_meta=False) for tensor in (input, target))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return torch.stack([self.weights[name] * loss(logits, truth) for name, loss in self.losses.items()]).sum()
