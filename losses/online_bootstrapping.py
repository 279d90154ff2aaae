"""Cross-entropy over the hardest pixels of each image."""

from __future__ import annotations

import torch
from monai.utils import convert_to_tensor
from torch.nn import functional
from torch.nn.modules.loss import _Loss

from tinylesions.datasets.errors import InputError
from tinylesions.losses.label_map import label_map, two_classes

__all__ = ["OnlineBootstrappingLoss"]


class OnlineBootstrappingLoss(_Loss):
    """Mean cross-entropy of the n pixels of each image whose prediction is farthest from the truth.

    Class imbalance paper (004), section 2.3, equations 2.3 and 2.4: the distance is (1/C) Σᵢ |pᵢ − yᵢ|. Of a softmax
    that is (2/C) (1 − p of the true class), so that the farthest pixels are those with the largest cross-entropy. The
    choice is by that, which still tells pixels apart where p is rounded to 0. Logits of one channel are those of the
    foreground: sigmoid, background 0 and foreground 1. Among equally hard pixels the choice is any.

    The chosen pixels of each class are added up in `chosen_counts` until `reset_counts`: tables 3.1 and 4.14. Every
    call counts, so that within a `MeanDeepSupervisionLoss` the counts are those of all heads together.

    Args:
        hard_pixels: n, for each image; an image of fewer pixels gives all.

    Attributes:
        chosen_counts: how many pixels of each class were chosen, (K,) int64, or (2,) for logits of one channel; empty
            before the first call. It is no part of the state dict.

    Raises:
        InputError: `hard_pixels` is no whole number of 1 or more.

    Example:
        >>> loss = OnlineBootstrappingLoss(hard_pixels=10)
        >>> loss(torch.zeros(2, 7, 8, 8), torch.ones(2, 1, 8, 8, dtype=torch.uint8))
        tensor(1.9459)
        >>> loss.chosen_counts.tolist()
        [0, 20, 0, 0, 0, 0, 0]
    """

    chosen_counts: torch.Tensor

    def __init__(self, hard_pixels: int = 512) -> None:
        if not isinstance(hard_pixels, int) or hard_pixels < 1:
            raise InputError(f"hard_pixels is {hard_pixels!r}: choose a whole number of pixels, 1 or more.")
        super().__init__()
        self.hard_pixels = hard_pixels
        self.register_buffer("chosen_counts", torch.zeros(0, dtype=torch.int64), persistent=False)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar of float32 or wider.

        Args:
            input: float logits (N, K, H, W), K = 1 for background and foreground.
            target: label map (N, 1, H, W) of any dtype with values 0 to K - 1 (0 and 1 where K = 1), or one-hot
                (N, K, H, W).

        Raises:
            ValueError: when the shapes do not belong together, a one-hot target gives a pixel no class or several, or
                the logits have another K than those counted so far.
        """
        logits, truth = (convert_to_tensor(tensor, track_meta=False) for tensor in (input, target))
        labels = label_map(logits, truth).flatten(1)
        logits = two_classes(logits).flatten(2)
        classes = logits.shape[1]
        wide = torch.promote_types(logits.dtype, torch.float32)
        with torch.no_grad():
            losses = functional.cross_entropy(logits.to(wide), labels, reduction="none")
            hardest = losses.topk(min(self.hard_pixels, losses.shape[1]), sorted=False).indices
        # again for the chosen alone: a backward pass over all pixels would cost more
        chosen = logits.gather(2, hardest[:, None].expand(-1, classes, -1)).to(wide)
        chosen_labels = labels.gather(1, hardest)
        self._count(chosen_labels, classes)
        return functional.cross_entropy(chosen, chosen_labels)

    def reset_counts(self) -> None:
        """Forget the chosen pixels counted so far."""
        self.chosen_counts = self.chosen_counts.new_zeros(0)

    def _count(self, labels: torch.Tensor, classes: int) -> None:
        """Add the pixels of each class; without `bincount`, for which a GPU would have to wait."""
        if len(self.chosen_counts) not in (0, classes):
            raise ValueError(
                f"The logits are of {classes} classes, but the chosen pixels of {len(self.chosen_counts)} classes have"
                " been counted: call reset_counts, or use another loss."
            )
        counts = (labels.flatten() == torch.arange(classes, device=labels.device)[:, None]).sum(1)
        self.chosen_counts = counts + self.chosen_counts.to(counts.device) if len(self.chosen_counts) else counts
