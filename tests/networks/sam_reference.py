"""Segment Anything's image encoder once more, literally: numpy, one token after another, one image."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.special import erf

Weights = dict[str, np.ndarray]


def encode(
    weights: Weights, image: np.ndarray, patch: int, heads: int, window: int, global_blocks: tuple[int, ...]
) -> np.ndarray:
    """Return features (neck, rows, columns) of an image (3, H, W); `weights` with or without adapters."""
    rows, columns = image.shape[1] // patch, image.shape[2] // patch
    kernel, bias = weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"]
    tokens = np.empty((rows, columns, len(bias)))
    for row, column in product(range(rows), range(columns)):
        pixels = image[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        tokens[row, column] = (kernel * pixels).sum((1, 2, 3)) + bias
    tokens += cubic(cubic(weights["pos_embed"][0], rows).swapaxes(0, 1), columns).swapaxes(0, 1)

    depth = sum(name.endswith("norm1.weight") for name in weights)
    for index in range(depth):
        block = {
            name.removeprefix(f"blocks.{index}."): value
            for name, value in weights.items()
            if name.startswith(f"blocks.{index}.")
        }
        normed = layer_norm(tokens, block["norm1.weight"], block["norm1.bias"])
        if index in global_blocks:
            tokens = tokens + attend(block, normed, heads)
        else:
            tokens = tokens + attend_windows(block, normed, heads, window)
        normed = layer_norm(tokens, block["norm2.weight"], block["norm2.bias"])
        tokens = tokens + mlp(block, normed, "mlp.lin1", "mlp.lin2")
        if "adapter.linear1.weight" in block:
            tokens = tokens + mlp(block, normed, "adapter.linear1", "adapter.linear2")

    x = tokens @ weights["neck.0.weight"][:, :, 0, 0].T
    x = layer_norm(x, weights["neck.1.weight"], weights["neck.1.bias"])
    framed = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    x = sum(
        framed[down : down + rows, right : right + columns] @ weights["neck.2.weight"][:, :, down, right].T
        for down, right in product(range(3), range(3))
    )
    return layer_norm(x, weights["neck.3.weight"], weights["neck.3.bias"]).transpose(2, 0, 1)


def attend(block: Weights, x: np.ndarray, heads: int) -> np.ndarray:
    """Attention on the grid x (rows, columns, C), pair by pair."""
    rows, columns, channels = x.shape
    wide = channels // heads
    both = x @ block["attn.qkv.weight"].T + block["attn.qkv.bias"]
    by_row, by_column = linear(block["attn.rel_pos_h"], 2 * rows - 1), linear(block["attn.rel_pos_w"], 2 * columns - 1)
    out = np.empty_like(x)
    places = list(product(range(rows), range(columns)))
    for head, place in product(range(heads), places):
        own = slice(head * wide, (head + 1) * wide)
        query = both[place][:channels][own]
        scores = []
        for other in places:
            key = both[other][channels : 2 * channels][own]
            down, right = place[0] - other[0], place[1] - other[1]
            score = query @ key / wide**0.5
            scores.append(score + query @ by_row[rows - 1 + down] + query @ by_column[columns - 1 + right])
        weights = np.exp(scores) / np.exp(scores).sum()
        values = [both[other][2 * channels :][own] for other in places]
        out[place][own] = sum(weight * value for weight, value in zip(weights, values, strict=True))
    return out @ block["attn.proj.weight"].T + block["attn.proj.bias"]


def attend_windows(block: Weights, x: np.ndarray, heads: int, size: int) -> np.ndarray:
    """Attention within each window; where it hangs over the border it holds zeros, which take part."""
    out = np.empty_like(x)
    for top, left in product(range(0, x.shape[0], size), range(0, x.shape[1], size)):
        inside = x[top : top + size, left : left + size]
        window = np.zeros((size, size, x.shape[2]))
        window[: inside.shape[0], : inside.shape[1]] = inside
        attended = attend(block, window, heads)
        out[top : top + size, left : left + size] = attended[: inside.shape[0], : inside.shape[1]]
    return out


def layer_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * scale + shift


def mlp(block: Weights, x: np.ndarray, first: str, second: str) -> np.ndarray:
    x = x @ block[f"{first}.weight"].T + block[f"{first}.bias"]
    x = x * (1 + erf(x / 2**0.5)) / 2
    return x @ block[f"{second}.weight"].T + block[f"{second}.bias"]


def centres(old: int, new: int) -> np.ndarray:
    """Where the middles of `new` cells lie among those of `old` cells."""
    return (np.arange(new) + 0.5) * old / new - 0.5


def linear(table: np.ndarray, new: int) -> np.ndarray:
    places = centres(len(table), new)
    return np.stack([np.interp(places, np.arange(len(table)), column) for column in table.T], axis=1)


def cubic(table: np.ndarray, new: int) -> np.ndarray:
    """Keys's cubic convolution along the first axis, a = -0.75, the border repeated."""
    a, rows = -0.75, []
    for place in centres(len(table), new):
        total = np.zeros_like(table[0])
        for near in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            away = abs(place - near)
            if away <= 1:
                weight = (a + 2) * away**3 - (a + 3) * away**2 + 1
            else:
                weight = a * (away**3 - 5 * away**2 + 8 * away - 4)
            total = total + weight * table[min(max(near, 0), len(table) - 1)]
        rows.append(total)
    return np.stack(rows)
