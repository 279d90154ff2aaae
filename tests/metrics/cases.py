"""Scores and truths as networks and photos give them, and scikit-learn's average precision of them."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import auc, average_precision_score, precision_recall_curve

PIXELS = 40_000


def truth_of(rng: np.random.Generator, share: float = 0.02) -> np.ndarray:
    return rng.random(PIXELS) < share


def uniform(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.where(truth, rng.random(PIXELS) ** 0.3, rng.random(PIXELS))


def eleven_levels(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.round(uniform(rng, truth), 1)


def piled_at_both_ends(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """What a confident network gives: the sigmoid of logits to ±30, in float32."""
    logits = np.clip(rng.normal(np.where(truth, 0, -15), 8), -30, 30)
    return torch.sigmoid(torch.from_numpy(logits).float()).double().numpy()


def near_zero(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.float32(10.0 ** np.where(truth, rng.uniform(-7, -1, PIXELS), rng.uniform(-9, -2, PIXELS)))


def all_equal(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.full(PIXELS, 0.3)


def perfect(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.where(truth, 0.5, 0.4999)


def wrong_way_round(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.where(truth, 0.0, 1.0)


def photos(count: int, seed: int = 0, heads: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(count, 4, 20, 30, generator=generator) < 0.2).to(torch.uint8)
    scores = torch.rand(count, heads * 4, 20, 30, generator=generator)
    scores = (scores + 0.3 * truth.repeat(1, heads, 1, 1)) / 1.3
    # multiples of 1/1024 have a bin each, so that few pixels are scored exactly too
    return (
        (scores * 1024).round() / 1024,
        truth,
        (torch.rand(count, 1, 20, 30, generator=generator) < 0.8).to(torch.uint8),
    )


def scikit_learn_of(scores: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor | None = None) -> list[float]:
    values = []
    for channel in range(scores.shape[1]):
        s, t = scores[:, channel].flatten(), truth[:, channel % truth.shape[1]].flatten() > 0
        inside = torch.ones_like(t) if mask is None else mask[:, 0].flatten() > 0
        counted = inside | t
        values.append(average_precision_score(t[counted], torch.where(inside, s, 0)[counted]))
    return values


M2MRF11 = np.linspace(0, 1, 11).astype(np.float32)


def m2mrf11_of(scores: np.ndarray, truth: np.ndarray) -> float:
    """The protocol word for word: strictly above each threshold, no prediction is precise, straight lines."""
    recalls, precisions = [], []
    for threshold in M2MRF11:
        predicted = np.float32(scores) > threshold
        hits = (predicted & truth).sum()
        recalls.append(hits / truth.sum())
        precisions.append(hits / predicted.sum() if predicted.any() else 1.0)
    return auc(recalls, precisions)


def idrid33_of(scores: np.ndarray, truth: np.ndarray) -> float:
    """Scores rounded down to multiples of 1/32, of which scikit-learn draws the curve."""
    precisions, recalls, _ = precision_recall_curve(truth, np.floor(np.float32(scores) * 32) / 32)
    return auc(recalls, precisions)


def lesion_windows_of(truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pixels (H, W) of the windows that hold a lesion, one window after another."""
    rows, columns = np.nonzero(mask)
    bottom, right = rows.max() + 1, columns.max() + 1
    pixels = np.zeros(mask.shape, bool)
    for top in range(rows.min(), bottom, 64):
        for left in range(columns.min(), right, 64):
            window = np.s_[top : min(top + 64, bottom), left : min(left + 64, right)]
            pixels[window] = truth[(slice(None), *window)].any()
    return pixels
