"""UNet++ on VGG16, with one output for each depth."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn

from tinylesions.networks.blocks import DecoderBlock, check_divisible, initialise
from tinylesions.networks.vgg import VGG16, VGG16_CONVOLUTIONS, VGG16_WIDTHS

__all__ = ["VGG16UNetPlusPlus"]


class VGG16UNetPlusPlus(nn.Module):
    """UNet++ whose encoder is VGG16 and whose decoder mirrors it, with an output at each depth.

    Node X(i, j) of level i and column j is VGG16's group i for j = 0, and otherwise a `DecoderBlock` of all earlier
    nodes of its level and of X(i+1, j-1) below. A 1×1 convolution on X(0, j) gives output j. Multi-task UNet++ paper
    (001), sections 1.3 to 1.6 and figures 3 and 4.

    In train mode it returns all outputs, stacked as MONAI's DynUNet does: (N, depth, out_channels, H, W), output 1
    first. In eval mode it returns what `head` names and computes no deeper node than that. The weights are the same
    whatever `head` is, so a checkpoint loads in each.

    Args:
        in_channels: channels of the input.
        out_channels: number of classes K.
        widths: channels of the levels, shallow to deep; the first depth + 1 are used.
        batch_norm: batch norm in the encoder; the decoder always has it.
        head: the output in eval mode: 1 to depth for that one, (N, K, H, W); `"last"` for the deepest; `"all"` for
            (N, depth * K, H, W), the outputs one after another along the channels, which a sliding-window inferer can
            stitch (`.unflatten(1, (depth, K))` takes them apart).
        depth: the number of outputs, L in the paper, 1 to 4.
        pretrained: ImageNet weights of the encoder, as in `VGG16`.

    Raises:
        ValueError: when `depth`, `head` or `widths` is out of range; in `forward`, when the height or width is not a
            multiple of 2 to the power of the depth computed (16 for four outputs).

    Example:
        >>> network = VGG16UNetPlusPlus(out_channels=6, widths=(4, 8, 8, 16, 16))
        >>> network(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 4, 6, 32, 32])
        >>> network.eval()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 6, 32, 32])
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 6,
        widths: Sequence[int] = VGG16_WIDTHS,
        batch_norm: bool = True,
        head: int | str = "last",
        depth: int = 4,
        pretrained: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if depth not in range(1, len(VGG16_CONVOLUTIONS)):
            raise ValueError(f"depth must be 1 to {len(VGG16_CONVOLUTIONS) - 1}, not {depth!r}.")
        self.all_outputs = list(range(1, depth + 1))
        choices: dict[int | str, list[int]] = {output: [output] for output in self.all_outputs}
        choices |= {"last": [depth], "all": self.all_outputs}
        if head not in choices:
            raise ValueError(f"head must be 1 to {depth}, 'last' or 'all', not {head!r}.")
        if len(widths) <= depth:
            raise ValueError(f"widths must name {depth + 1} levels for depth {depth}, not {len(widths)}.")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.widths = tuple(widths)
        self.batch_norm = batch_norm
        self.depth = depth
        self.eval_outputs = choices[head]

        self.encoder = VGG16(in_channels, batch_norm, self.widths[: depth + 1], pretrained)
        # column by column, so that every node finds the nodes it reads already computed
        self.places = [(level, column) for column in self.all_outputs for level in range(depth + 1 - column)]
        self.nodes = nn.ModuleDict(
            {
                f"x_{level}_{column}": DecoderBlock(
                    skip_channels=column * self.widths[level],
                    below_channels=self.widths[level + 1],
                    out_channels=self.widths[level],
                    convolutions=VGG16_CONVOLUTIONS[level],
                )
                for level, column in self.places
            }
        )
        self.heads = nn.ModuleList(nn.Conv2d(self.widths[0], out_channels, kernel_size=1) for _ in self.all_outputs)
        initialise(self.nodes, self.heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, depth, K, H, W) in train mode, (N, K, H, W) or (N, depth * K, H, W) in eval mode.

        Args:
            x: float images (N, in_channels, H, W).
        """
        outputs = self.all_outputs if self.training else self.eval_outputs
        deepest = outputs[-1]
        check_divisible(x, 1 << deepest)  # TorchScript would make 2**deepest a float

        levels = [[group] for group in self.encoder(x, deepest + 1)]
        for index, node in enumerate(self.nodes.values()):
            level, column = self.places[index]
            if level + column <= deepest:
                levels[level].append(node(levels[level], levels[level + 1][column - 1]))

        logits: list[torch.Tensor] = []
        for index, head in enumerate(self.heads):
            if index + 1 in outputs:
                logits.append(head(levels[0][index + 1]))
        return torch.stack(logits, dim=1) if self.training else torch.cat(logits, dim=1)

    def prune(self, depth: int) -> VGG16UNetPlusPlus:
        """Return a smaller network with outputs 1 to `depth` only and a copy of their weights, in the same mode.

        Raises:
            ValueError: when `depth` is not 1 to this network's own depth.
        """
        if depth not in self.all_outputs:
            raise ValueError(f"A network with {self.depth} outputs can be pruned to 1 to {self.depth}, not {depth!r}.")
        pruned = VGG16UNetPlusPlus(
            self.in_channels, self.out_channels, self.widths, self.batch_norm, head="last", depth=depth
        )
        weights = self.state_dict()
        pruned.load_state_dict({name: weights[name] for name in pruned.state_dict()})
        return pruned.to(next(self.parameters())).train(self.training)
