"""Histograms of scores by truth: all that a test set's photos leave behind, in constant memory.

The scores of all pixels are never held: each photo adds to a histogram of scores for the lesion's pixels and one for
the others. Histograms add up over photos and processes, and precision and recall at every bin's edge follow.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

__all__ = [
    "COARSE_BINS",
    "SCORE_BINS",
    "bin_edges",
    "merge_bins",
    "photo_histograms",
    "pixel_chunks",
    "score_bins",
    "score_histogram",
]

_OCTAVES = 32  # down to 2^-32; scores below share a bin
_STEPS = 4096  # bins per octave: a bin is at most 1/4096 of the score wide
SCORE_BINS = 2 * _OCTAVES * _STEPS
COARSE_BINS = 4096
"""Bins of a photo's own histogram; their edges too are multiples of 1/32 wherever those lie."""

_LEAST = 2.0**-_OCTAVES
_LEAST_FROM_ONE = 2.0 ** -(_OCTAVES - 1)  # below float32's step under 1, so that 1 has a bin of its own
_SHIFT = 23 - 12  # float32 has 23 bits of mantissa, 2^12 = _STEPS are kept
_CHUNK = 1 << 18  # pixels; their intermediate results stay in the processor's cache


def score_bins(scores: torch.Tensor) -> torch.Tensor:
    """Bin number of each score, monotonous in the score, fine near 0 and near 1 where networks' scores pile up.

    A positive float's bits, read as an integer, are its logarithm in straight pieces. The bin is that of s less that
    of 1 − s, so that a bin's width is relative to the distance from the nearer end. Every multiple of 1/32 is the
    lower edge of a bin.

    Args:
        scores: any shape, in [0, 1]; wider types are rounded to float32.

    Returns:
        int32 of the same shape, in [0, ``SCORE_BINS``).
    """
    scores = scores.float()
    # a factor of 2^-32, exact, makes the difference of the bits start at 0
    complement = torch.rsub(scores, _LEAST, alpha=_LEAST).clamp_(min=_LEAST * _LEAST_FROM_ONE)
    bits = scores.clamp(min=_LEAST).view(torch.int32)
    return bits.sub_(complement.view(torch.int32)).bitwise_right_shift_(_SHIFT)


def bin_edges(bins: torch.Tensor) -> torch.Tensor:
    """Lower edge of each bin, the inverse of :func:`score_bins`: score ≥ edge just where the score's bin ≥ bin.

    Args:
        bins: bin numbers of any shape and integer type, in [0, ``SCORE_BINS``).

    Returns:
        float32 of the same shape: the least score of the bin, or of the next that has any; infinity above the bin of 1.
    """
    # bins grow with the score and a positive float with its bits, so that halving the bits' range ends at the edge
    low = torch.zeros_like(bins, dtype=torch.int32)
    one = torch.ones_like(bins, dtype=torch.float32)
    high = one.view(torch.int32).clone()
    for _ in range(30):  # bits of 1
        middle = (low + high) // 2
        reached = score_bins(middle.view(torch.float32)) >= bins
        low, high = torch.where(reached, low, middle + 1), torch.where(reached, middle, high)
    return torch.where(bins > score_bins(one), torch.inf, high.view(torch.float32))


def score_histogram(scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Count the pixels of one class by score and truth.

    Args:
        scores: probabilities in [0, 1], any shape.
        truth: same shape, non-zero is the class.
        mask: same shape, non-zero is inside the field of view. Outside, pixels of the class count as misses (in the
            lowest bin) and the others do not count.

    Returns:
        (2, ``SCORE_BINS``) int64: other pixels, pixels of the class.

    Raises:
        ValueError: scores are NaN or outside [0, 1], or the shapes differ.
    """
    if scores.shape != truth.shape or (mask is not None and mask.shape != scores.shape):
        raise ValueError(f"shapes differ: {scores.shape=}, {truth.shape=}, mask {None if mask is None else mask.shape}")
    if scores.numel():
        least, most = scores.aminmax()
        # NaN fails the comparison too
        if not (least >= 0 and most <= 1):
            raise ValueError("scores are probabilities in [0, 1]; got NaN or values outside")
    # the class is rare: all pixels are counted, and its own apart
    every, positive = torch.zeros(2, SCORE_BINS, dtype=torch.int32, device=scores.device)
    one = every.new_ones(1)
    for part, is_class, inside in pixel_chunks(scores, truth, mask):
        bins = score_bins(part)
        if inside is not None:
            bins *= inside
            every[0] -= len(bins) - torch.count_nonzero(inside | is_class)
        found = bins[is_class]
        every.index_add_(0, bins, one.expand(len(bins)))
        positive.index_add_(0, found, one.expand(len(found)))
    return torch.stack([every - positive, positive]).long()


def photo_histograms(scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Histograms of a photo's channels.

    Args:
        scores: (C, ...) probabilities; C is a multiple of the truth's K where several heads follow one another.
        truth: (K, ...), non-zero is the class.
        mask: (1, ...), non-zero is inside the field of view.

    Returns:
        (C, 2, ``SCORE_BINS``) int64.

    Raises:
        ValueError: see :func:`score_histogram`, or C is no multiple of K.
    """
    if len(scores) % len(truth):
        raise ValueError(f"{len(scores)} predicted channels are no multiple of the {len(truth)} of the truth")
    inside = None if mask is None else mask[0].bool()
    return torch.stack([score_histogram(s, truth[i % len(truth)], inside) for i, s in enumerate(scores)])


def merge_bins(histogram: torch.Tensor) -> torch.Tensor:
    """Merge neighbouring bins: (..., ``SCORE_BINS``) → (..., ``COARSE_BINS``) int32."""
    return histogram.unflatten(-1, (COARSE_BINS, -1)).sum(-1, dtype=torch.int32)


def pixel_chunks(
    scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
    """Scores, truth and mask in runs of pixels, truth and mask as bool."""
    runs = [tensor.reshape(-1).split(_CHUNK) for tensor in (scores, truth, *([] if mask is None else [mask]))]
    for part, is_class, *inside in zip(*runs, strict=True):
        yield part, is_class.bool(), inside[0].bool() if inside else None
