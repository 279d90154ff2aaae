"""Segment Anything's image encoder, with an adapter in each block."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from monai.networks.blocks import MLPBlock
from torch import nn
from torch.nn import functional

from tinylesions.networks.sam_attention import GridAttention, join_windows, split_windows

__all__ = ["ADAPTER", "LayerNorm2d", "SAMEncoder"]

ADAPTER = ".adapter."
"""In the names of the adapters' parameters, and in no other's."""

EPSILON = 1e-6
"""Of Segment Anything's layer norms; torch has 1e-5."""


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each place of features (N, C, H, W).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features, (N, C, H, W) as `x`."""
        x = functional.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class _Block(nn.Module):
    """A transformer's block on (N, rows, columns, C), the adapter beside its MLP; without `window_size` it sees all."""

    def __init__(
        self, embed_dim: int, num_heads: int, grid_size: int, window_size: int, adapter_reduction: int
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.norm1 = nn.LayerNorm(embed_dim, eps=EPSILON)
        self.attn = GridAttention(embed_dim, num_heads, window_size or grid_size)
        self.norm2 = nn.LayerNorm(embed_dim, eps=EPSILON)
        self.mlp = nn.Sequential(
            OrderedDict(
                lin1=nn.Linear(embed_dim, 4 * embed_dim),
                act=nn.GELU(),
                lin2=nn.Linear(4 * embed_dim, embed_dim),
            )
        )
        self.adapter = MLPBlock(embed_dim, max(1, embed_dim // adapter_reduction))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = x.shape[1], x.shape[2]
        attended = self.norm1(x)
        if self.window_size > 0:
            attended = join_windows(self.attn(split_windows(attended, self.window_size)), rows, columns)
        else:
            attended = self.attn(attended)
        x = x + attended
        normed = self.norm2(x)
        return x + self.mlp(normed) + self.adapter(normed)


class SAMEncoder(nn.Module):
    """The vision transformer of Segment Anything (Kirillov et al., 2023, appendix A), with adapters.

    A token for each patch, blocks whose attention sees a window or, in some of them, all tokens, and a neck of two
    convolutions. The parameters are named as in the public checkpoints, below their ``image_encoder.``; only the
    adapters' (`ADAPTER`) are not in them. An adapter is a bottleneck MLP parallel to the block's own; its last layer
    starts at zero, so that the encoder starts as the one without adapters.

    All weights start from a normal distribution of standard deviation 0.02, cut at two of them, the biases at zero.

    Args:
        embed_dim, depth, num_heads, global_attn_indexes, window_size, patch_size, image_size, neck_channels,
            adapter_reduction: as in :class:`~tinylesions.networks.sam_adapter.SAMAdapter`.
    """

    def __init__(
        self,
        embed_dim: int,
        depth: int,
        num_heads: int,
        global_attn_indexes: Sequence[int],
        window_size: int,
        patch_size: int,
        image_size: int,
        neck_channels: int,
        adapter_reduction: int,
    ) -> None:
        super().__init__()
        grid_size = image_size // patch_size
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(3, embed_dim, patch_size, patch_size)))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid_size, grid_size, embed_dim))
        self.blocks = nn.ModuleList(
            _Block(
                embed_dim, num_heads, grid_size, 0 if index in global_attn_indexes else window_size, adapter_reduction
            )
            for index in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, neck_channels, kernel_size=1, bias=False),
            LayerNorm2d(neck_channels),
            nn.Conv2d(neck_channels, neck_channels, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(neck_channels),
        )
        _initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features (N, neck_channels, H / patch_size, W / patch_size) for images `x` (N, 3, H, W)."""
        x = self.patch_embed(x).permute(0, 2, 3, 1)
        x = x + self._positions(x.shape[1], x.shape[2])
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))

    def published_state_dict(self) -> dict[str, torch.Tensor]:
        """Return what a public checkpoint holds too: all but the adapters' parameters."""
        return {name: value for name, value in self.state_dict().items() if ADAPTER not in name}

    def _positions(self, rows: int, columns: int) -> torch.Tensor:
        """Return what is added for each token's place, (1, rows, columns, C), resized where the grid is another."""
        if rows == self.pos_embed.shape[1] and columns == self.pos_embed.shape[2]:
            return self.pos_embed
        table = self.pos_embed.permute(0, 3, 1, 2)
        return functional.interpolate(table, [rows, columns], mode="bicubic").permute(0, 2, 3, 1)


def _initialise(encoder: SAMEncoder) -> None:
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim > 1:  # the scales of layer norms stay one
            nn.init.trunc_normal_(parameter, std=0.02, a=-0.04, b=0.04)
        if ADAPTER + "linear2" in name:
            nn.init.zeros_(parameter)
