"""Cross-entropy whose classes weigh by their effective numbers of pixels."""

from __future__ import annotations

import math

import torch
from monai.utils import convert_to_tensor
from torch.nn import functional
from torch.nn.modules.loss import _Loss

__all__ = ["ClassBalancedCELoss", "effective_number_weights"]


class ClassBalancedCELoss(_Loss):
    """Softmax cross-entropy in which class i weighs wᵢ = (1−β) / (1−βⁿⁱ), with nᵢ its pixels in the batch.

    Grading and segmentation paper (003), equation 2, after Cui et al. 2019. The paper leaves the reduction open: this
    is Σᵢ wᵢ Σ_{pixels of i} s·(−log p) / Σᵢ wᵢ nᵢ, where a class without pixels has weight 0 and s is the weight of the
    pixel's sample. Samples of weight 0 are unlabelled and count nowhere, not in nᵢ either; other weights scale the
    numerator only, so that a batch of weights ½ has half the loss. Without any labelled sample the loss and its
    gradient are 0.

    β = 0 gives every class the weight 1: `torch.nn.functional.cross_entropy`. The larger β is, the nearer a class of
    many pixels comes to the total weight of a class of few.

    Args:
        beta: β in [0, 1).

    Raises:
        ValueError: `beta` outside [0, 1).

    Example:
        >>> loss = ClassBalancedCELoss()
        >>> logits, labels = torch.zeros(2, 5, 8, 8), torch.ones(2, 1, 8, 8, dtype=torch.uint8)
        >>> loss(logits, labels)
        tensor(1.6094)
        >>> loss(logits, labels, sample_weight=torch.tensor([0.5, 0.0]))
        tensor(0.8047)
    """

    def __init__(self, beta: float = 0.999) -> None:
        if not 0 <= beta < 1:
            raise ValueError(f"beta must be 0 or more and less than 1, not {beta!r}.")
        super().__init__()
        self.beta = beta

    def forward(
        self, input: torch.Tensor, target: torch.Tensor, sample_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the loss, a scalar of float32 or wider.

        Args:
            input: float logits (N, K, H, W), or (N, K) of whole samples.
            target: class numbers 0 to K - 1 of any dtype, (N, 1, H, W) or (N, H, W); (N, 1) or (N,) for whole samples.
                Those of a sample of weight 0 may be anything, such as -1 for unknown.
            sample_weight: (N,), 0 or more; `None` stands for ones.

        Raises:
            ValueError: when the shapes do not belong together, a labelled sample has other class numbers, or a weight
                is negative or NaN.
        """
        logits, truth = (convert_to_tensor(tensor, track_meta=False) for tensor in (input, target))
        if truth.ndim == logits.ndim and truth.shape[1] == 1:
            truth = truth.squeeze(1)
        if truth.shape != logits.shape[:1] + logits.shape[2:]:
            raise ValueError(
                f"The target has the shape {tuple(target.shape)}, but logits of {tuple(input.shape)} need one class"
                " number for each pixel."
            )
        # explicitly, since autocast may hand over half precision, in which sums overflow
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        weight = _sample_weights(logits, sample_weight)
        labelled = weight > 0
        counts = _class_counts(truth, logits.shape[1], labelled)
        _check_values(counts, weight, math.prod(truth.shape[1:]))

        class_weight = effective_number_weights(counts.to(logits.dtype), self.beta)
        unlabelled = ~labelled.view(-1, *[1] * (truth.ndim - 1))
        losses = functional.cross_entropy(
            logits, truth.long().masked_fill(unlabelled, -1), class_weight, ignore_index=-1, reduction="none"
        )
        # a class that is there has w·n of 1 or more: no batch but an unlabelled one is below
        divisor = (class_weight * counts).sum().clamp_min(1)
        return (losses.reshape(len(losses), -1).sum(1) * weight).sum() / divisor


def effective_number_weights(counts: torch.Tensor, beta: float) -> torch.Tensor:
    """Return (1−β) / (1−βⁿ) for each class's count n, float as `counts` are; 0 where n is 0.

    Cui et al. 2019, equation 4: the weight falls from 1 for one pixel to 1−β for very many.
    """
    # 1 − βⁿ from the logarithm keeps its digits where β is next to 1, and lets βⁿ underflow for a large n
    log_beta = math.log(beta) if beta > 0 else -math.inf
    weights = (1 - beta) / -torch.expm1(counts * log_beta)
    return weights.where(counts > 0, 0)


def _sample_weights(logits: torch.Tensor, sample_weight: torch.Tensor | None) -> torch.Tensor:
    if sample_weight is None:
        return logits.new_ones(len(logits))
    weight = convert_to_tensor(sample_weight, track_meta=False).to(logits)
    if weight.shape != logits.shape[:1]:
        raise ValueError(
            f"sample_weight has the shape {tuple(weight.shape)}, but {len(logits)} samples need one weight each."
        )
    return weight


def _class_counts(truth: torch.Tensor, classes: int, labelled: torch.Tensor) -> torch.Tensor:
    """Return how many pixels of labelled samples each class has, (K,) int64.

    Without `bincount`, which makes a GPU wait and does not see a float label between two classes.
    """
    each = truth.reshape(len(truth), 1, -1) == torch.arange(classes, device=truth.device)[:, None]
    return (each.sum(-1) * labelled[:, None]).sum(0)


def _check_values(counts: torch.Tensor, weight: torch.Tensor, pixels: int) -> None:
    """Raise ValueError for class numbers or weights that do not exist; a GPU is asked once."""
    fits = counts.sum() == (weight > 0).sum() * pixels
    valid = weight >= 0  # also not NaN
    if bool(fits & valid.all()):
        return
    if not bool(valid.all()):
        raise ValueError("sample_weight has negative values or NaN; give 0 for a sample without a label.")
    raise ValueError(
        f"The target has values other than the {len(counts)} class numbers 0 to {len(counts) - 1}; give a sample"
        " without a label the weight 0."
    )
