"""Self-attention of Segment Anything's image encoder: relative positions on a grid, and windows of one."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["GridAttention", "join_windows", "split_windows"]


class GridAttention(nn.Module):
    """Multi-head self-attention on a grid of tokens, with a bias for each pair from their distance in rows and columns.

    The bias of a query q and a key is q · R_rows + q · R_columns, where each R is learnt for a signed distance (Li et
    al., 2022, MViTv2, as Segment Anything has it). On a larger or smaller grid than `grid_size` the R are
    interpolated linearly. MONAI's ``SABlock`` adds the same bias, but for a fixed grid, without torch's fused kernels
    and not in TorchScript, and its parameters have other names than the public checkpoints.

    Args:
        embed_dim: channels C, a multiple of `num_heads`.
        num_heads: of the attention.
        grid_size: rows and columns that the table of distances is made for.

    Example:
        >>> GridAttention(embed_dim=8, num_heads=2, grid_size=4)(torch.rand(1, 4, 4, 8)).shape
        torch.Size([1, 4, 4, 8])
    """

    def __init__(self, embed_dim: int, num_heads: int, grid_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)
        distances = 2 * grid_size - 1
        self.rel_pos_h = nn.Parameter(torch.zeros(distances, embed_dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(distances, embed_dim // num_heads))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features (N, rows, columns, C) for features `x` of the same shape."""
        images, rows, columns, channels = x.shape
        parts = self.qkv(x).reshape(images, rows * columns, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]  # each (N, heads, rows * columns, C / heads)
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self._distance_bias(query, rows, columns)
        )
        # not transposed and reshaped: ONNX's exporter would take the strides of torch's kernel for granted
        joined = torch.cat(attended.unbind(1), dim=2)
        return self.proj(joined.reshape(images, rows, columns, channels))

    def _distance_bias(self, query: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """Return (N, heads, rows * columns, rows * columns): what is added to each query's score of each key."""
        query = query.unflatten(2, (rows, columns))
        by_row = torch.einsum("nhrcd,rkd->nhrck", query, _by_pair(self.rel_pos_h, rows))
        by_column = torch.einsum("nhrcd,ckd->nhrck", query, _by_pair(self.rel_pos_w, columns))
        return (by_row.unsqueeze(5) + by_column.unsqueeze(4)).flatten(4, 5).flatten(2, 3)


def _by_pair(table: torch.Tensor, size: int) -> torch.Tensor:
    """Return (size, size, C): for a query's place and a key's what `table` (distances, C) has for their distance."""
    if table.shape[0] != 2 * size - 1:
        table = functional.interpolate(table.T.unsqueeze(0), 2 * size - 1, mode="linear")[0].T
    places = torch.arange(size, device=table.device)
    return table[places.unsqueeze(1) - places + size - 1]


def split_windows(x: torch.Tensor, size: int) -> torch.Tensor:
    """Cut (N, rows, columns, C) into its windows (N * windows, size, size, C), row by row.

    Rows and columns of zeros are added below and on the right where `size` does not divide the grid. As in Segment
    Anything, the other tokens of a window do attend to them.
    """
    rows, columns = x.shape[1], x.shape[2]
    x = functional.pad(x, (0, 0, 0, (size - columns % size) % size, 0, (size - rows % size) % size))
    down, across = x.shape[1] // size, x.shape[2] // size
    return x.reshape(-1, down, size, across, size, x.shape[3]).transpose(2, 3).flatten(0, 2)


def join_windows(windows: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Put the windows of `split_windows` together to (N, rows, columns, C), without what was added."""
    size, channels = windows.shape[1], windows.shape[3]
    down, across = (rows + size - 1) // size, (columns + size - 1) // size
    x = windows.reshape(-1, down, across, size, size, channels).transpose(2, 3)
    return x.reshape(-1, down * size, across * size, channels)[:, :rows, :columns]
