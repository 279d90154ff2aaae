"""Red-Seg: a branch of side outputs for each lesion on one VGG16, for whole photos."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from tinylesions.networks.vgg import VGG16, VGG16_WIDTHS

__all__ = ["RedSeg"]


class RedSeg(nn.Module):
    """Several lesions at once on a shared VGG16, each by a branch that fuses the scales which suit its size.

    Red-Seg paper (000), section 2.1, figures 2 to 4, table 1. A branch reads some of VGG16's five groups: a 1×1
    convolution makes one channel of the group's last convolution, bilinear up-sampling brings it to the photo's size,
    which is a side output, and a 1×1 convolution fuses the side outputs. One branch of all five groups for each lesion
    is the network HED (Xie and Tu, 2015): ``branches=[(1, 2, 3, 4, 5)] * 4``.

    In train mode it returns side outputs and fused outputs, stacked as MONAI's DynUNet does: (N, heads, K, H, W) with
    K = ``len(branches)``, shallow to deep, the fused output last. A branch with fewer groups than another has zeros in
    its first heads; `head_counts` says how many each really has. In eval mode it returns what `head` names.

    Photos of any height and width: their border is replicated to a multiple of what the pools need (16 with the fifth
    group), and every output is cropped back.

    Args:
        in_channels: channels of the input.
        branches: for each lesion the groups that are fused, 1 to 5, ascending. The paper's: microaneurysms of
            conv2-conv4, haemorrhages of conv3-conv5.
        widths: channels of VGG16's groups; only those that a branch needs are built.
        head: the output in eval mode: ``"fused"``, (N, K, H, W), or ``"all"``, (N, heads * K, H, W), the heads one
            after another along the channels (`.unflatten(1, (heads, K))` takes them apart).
        pretrained: ImageNet weights, as in `VGG16`.

    Raises:
        ValueError: when a branch is empty, not ascending or names a group that `widths` does not, or `head` is neither.

    Example:
        >>> network = RedSeg(widths=(4, 8, 8, 16, 16))
        >>> network(torch.rand(1, 3, 50, 70)).shape
        torch.Size([1, 4, 2, 50, 70])
        >>> network.eval()(torch.rand(1, 3, 50, 70)).shape
        torch.Size([1, 2, 50, 70])
    """

    def __init__(
        self,
        in_channels: int = 3,
        branches: Sequence[Sequence[int]] = ((2, 3, 4), (3, 4, 5)),
        widths: Sequence[int] = VGG16_WIDTHS,
        head: str = "fused",
        pretrained: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        for groups in branches:
            if not groups or list(groups) != sorted(set(groups)) or not 1 <= groups[0] <= groups[-1] <= len(widths):
                raise ValueError(
                    f"a branch names ascending groups from 1 to {len(widths)}, as many as widths has, not {groups!r}."
                )
        if not branches:
            raise ValueError("branches must name one lesion's groups or more.")
        if head not in ("fused", "all"):
            raise ValueError(f"head must be 'fused' or 'all', not {head!r}.")
        self.all_heads = head == "all"
        self.head_counts = [len(groups) + 1 for groups in branches]
        deepest = max(groups[-1] for groups in branches)
        self.divisor = 2 ** (deepest - 1)
        self.encoder = VGG16(in_channels, batch_norm=False, widths=widths[:deepest], pretrained=pretrained)
        self.branches = nn.ModuleList(_Branch(widths, groups) for groups in branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, heads, K, H, W) in train mode, (N, K, H, W) or (N, heads * K, H, W) in eval mode.

        Args:
            x: float images (N, in_channels, H, W).
        """
        height, width = x.shape[2], x.shape[3]
        below = (self.divisor - height % self.divisor) % self.divisor
        right = (self.divisor - width % self.divisor) % self.divisor
        features = self.encoder(functional.pad(x, (0, right, 0, below), mode="replicate"))
        outputs = [branch(features)[:, :, :height, :width] for branch in self.branches]
        if not self.training and not self.all_heads:
            return torch.cat([heads[:, -1:] for heads in outputs], dim=1)
        most = max(self.head_counts)
        aligned = [functional.pad(heads, (0, 0, 0, 0, most - heads.shape[1], 0)) for heads in outputs]
        stacked = torch.stack(aligned, dim=2)
        return stacked if self.training else stacked.flatten(1, 2)


class _Branch(nn.Module):
    """The side outputs of some groups and their fusion, (N, groups + 1, H, W)."""

    def __init__(self, widths: Sequence[int], groups: Sequence[int]) -> None:
        super().__init__()
        self.groups = list(groups)
        sides = [nn.Conv2d(widths[group - 1], 1, kernel_size=1) for group in groups]
        fusion = nn.Conv2d(len(groups), 1, kernel_size=1)
        for side in sides:
            nn.init.normal_(side.weight, std=0.01)
        nn.init.constant_(fusion.weight, 1 / len(groups))  # as if the sides were averaged
        for convolution in (*sides, fusion):
            nn.init.constant_(convolution.bias, 0)  # type: ignore[arg-type]
        self.sides = nn.ModuleList(sides)
        self.fusion = fusion

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        outputs: list[torch.Tensor] = []
        for index, side in enumerate(self.sides):
            group = self.groups[index]
            output = side(features[group - 1])
            if group > 1:
                scale = float(1 << (group - 1))
                output = functional.interpolate(output, scale_factor=scale, mode="bilinear", align_corners=False)
            outputs.append(output)
        outputs.append(self.fusion(torch.cat(outputs, dim=1)))
        return torch.cat(outputs, dim=1)
