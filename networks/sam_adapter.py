"""SAM-Adapter: Segment Anything's frozen image encoder with adapters, and a mask decoder without prompts."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks.blocks import check_divisible, initialise
from tinylesions.networks.sam_encoder import ADAPTER, LayerNorm2d, SAMEncoder
from tinylesions.networks.sam_weights import load_sam_weights

__all__ = ["SAMAdapter"]


class SAMAdapter(nn.Module):
    """Segmentation by Segment Anything's image encoder, of which only small adapters and the mask decoder are trained.

    UW-OCTA paper (002), section 5.1.1, table 2; Kirillov et al., 2023, Segment Anything; Chen et al., 2023,
    SAM-Adapter. In each block of the encoder a bottleneck MLP is added parallel to the block's own; it starts at zero,
    so that training starts from Segment Anything's features. It reads the block's features, where Chen et al. give
    their adapters the patch embedding and the image's high frequencies.

    The decoder is the up-scaling of Segment Anything's: two transposed convolutions to a quarter of the image's size
    (for patches of 16), then a linear map of the channels, then bilinear to the full size. It has no prompts, since
    nobody gives one, so neither tokens nor two-way attention with them: Segment Anything derives that linear map from
    the tokens, here it is learnt.

    With the default, ViT-B, 3.6 of 93.3 million parameters are trained (3.9 %); Segment Anything's own encoder has 89.7
    million. ViT-L: ``embed_dim=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23)``, 12.8 of 321.0
    million; ViT-H: ``embed_dim=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31)``, 26.4 of 663.4
    million. The state dict holds the frozen ones too, so a trained network needs no `pretrained`.

    Args:
        in_channels: 1, which is repeated to Segment Anything's three, or 3.
        out_channels: number of outputs K.
        embed_dim: channels of the tokens, a multiple of `num_heads`.
        depth: number of the encoder's blocks.
        num_heads: heads of their attention.
        global_attn_indexes: the blocks, from 0, whose attention sees all tokens; the others' sees a window.
        window_size: rows and columns of tokens in a window.
        patch_size: pixels of a token's side.
        image_size: pixels of the side that the position tables are made for. Other sizes are taken too, the tables
            interpolated, as are those that are not square.
        neck_channels: of the encoder's output, 8 or more.
        adapter_reduction: the adapters' bottleneck has so many times fewer channels, at least one.
        freeze_encoder: train only the adapters and the decoder. The encoder then is only as good as its weights: where
            none are given or loaded, set it to false, or the random ones stay.
        pretrained: a checkpoint of Segment Anything, such as ``sam_vit_b_01ec64.pth``, or one with the same names;
            only its image encoder is read. Without it the weights are random, to be trained or loaded.

    Raises:
        ValueError: when the arguments contradict each other; in `forward`, when the height or width is not a multiple
            of `patch_size`.
        InputError: when the file of `pretrained` is missing, unreadable or of another size.

    Example:
        >>> network = SAMAdapter(embed_dim=16, depth=2, num_heads=2, global_attn_indexes=(1,), neck_channels=8)
        >>> network(torch.rand(1, 1, 64, 96)).shape
        torch.Size([1, 1, 64, 96])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        global_attn_indexes: Sequence[int] = (2, 5, 8, 11),
        window_size: int = 14,
        patch_size: int = 16,
        image_size: int = 1024,
        neck_channels: int = 256,
        adapter_reduction: int = 4,
        freeze_encoder: bool = True,
        pretrained: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if in_channels not in (1, 3):
            raise ValueError(f"in_channels must be 1 or 3, as Segment Anything saw colour images, not {in_channels}.")
        if embed_dim % num_heads != 0:
            raise ValueError(f"embed_dim must be a multiple of num_heads, but {embed_dim} is none of {num_heads}.")
        if not all(0 <= index < depth for index in global_attn_indexes):
            raise ValueError(f"global_attn_indexes must be 0 to {depth - 1}, not {tuple(global_attn_indexes)}.")
        if image_size % patch_size != 0:
            raise ValueError(f"image_size must be a multiple of patch_size, but {image_size} is none of {patch_size}.")
        if neck_channels < 8:
            raise ValueError(f"neck_channels must be 8 or more, as the decoder takes an eighth, not {neck_channels}.")
        self.patch_size = patch_size
        self.repeats = 3 // in_channels
        self.image_encoder = SAMEncoder(
            embed_dim,
            depth,
            num_heads,
            global_attn_indexes,
            window_size,
            patch_size,
            image_size,
            neck_channels,
            adapter_reduction,
        )
        if pretrained is not None:
            load_sam_weights(self.image_encoder, pretrained)
        if freeze_encoder:
            for name, parameter in self.image_encoder.named_parameters():
                parameter.requires_grad_(ADAPTER in name)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(neck_channels, neck_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(neck_channels // 4),
            nn.GELU(),
            nn.ConvTranspose2d(neck_channels // 4, neck_channels // 8, kernel_size=2, stride=2),
            nn.GELU(),
            nn.Conv2d(neck_channels // 8, out_channels, kernel_size=1),
        )
        initialise(self.decoder)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K, H, W).

        Args:
            x: float images (N, in_channels, H, W) of zero mean and unit variance, about what Segment Anything makes of
                its own.
        """
        check_divisible(x, self.patch_size)
        logits = self.decoder(self.image_encoder(x.repeat(1, self.repeats, 1, 1)))
        return functional.interpolate(logits, [x.shape[2], x.shape[3]], mode="bilinear")
