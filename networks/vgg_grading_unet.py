"""One network for the grade and the lesions of a photo, which share VGG16's first groups and fuse the later ones."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn

from tinylesions.networks.blocks import DecoderBlock, check_divisible, initialise
from tinylesions.networks.task_fusion import DeepFusion, ShallowFusion
from tinylesions.networks.tasks import TaskNetwork
from tinylesions.networks.vgg import VGG16, VGG16_CONVOLUTIONS, VGG16_WIDTHS

__all__ = ["DEEP_FUSION_PLACES", "VGG16GradingUNet"]

DEEP_FUSION_PLACES = ("en_4", "de_4", "en_5")
"""Where deep fusion meets the segmentation: its encoder's fourth or fifth group, or its decoder's level 4."""


class VGG16GradingUNet(TaskNetwork):
    """VGG16 U-Net that segments lesions, with a second VGG16 end that grades the photo.

    Grading and segmentation paper (003), chapter 3, figure 2. Both tasks share the first `shared_groups` of VGG16's
    five groups; each has the others for itself. The segmentation goes on as `VGG16UNet`, the grading by global average
    pooling and a fully connected layer. Deep fusion exchanges their deep features, shallow fusion shows the grading
    the softmax of the segmentation.

    Tasks: ``"grade"``, logits (N, num_grades), and ``"segmentation"``, logits (N, out_channels, H, W).

    For activation maps: `group_names` has the names of the modules that are VGG16's five groups for each task, and
    ``grading_features`` is the module whose output the grading pools.

    Args:
        in_channels: channels of the input.
        out_channels: classes of the segmentation: background and four lesions.
        num_grades: grades of diabetic retinopathy.
        widths: channels of VGG16's five groups.
        shared_groups: 3, 4 or 5 (tables 2 and 3; 5 without fusion is "MTUnet").
        deep_fusion: attention of the deep fusion, one of ``ATTENTIONS``, or None for no deep fusion (tables 4, 7, 8);
            ``"none"`` is the same, since a None of MONAI's command line is dropped.
        deep_fusion_place: one of ``DEEP_FUSION_PLACES`` (table 5).
        shallow_fusion: attention of the shallow fusion, likewise (tables 6, 7, 8).
        batch_norm: batch norm in VGG16; the decoder always has it.
        pretrained: ImageNet weights of both VGG16 ends, as in `VGG16`.
        tasks: ``"segmentation"`` or ``"grade"`` for that tensor, ``"all"`` for a dict of both; see
            :meth:`TaskNetwork.for_tasks`.

    Raises:
        ValueError: `widths` are not five; an unknown attention, place or task; groups shared behind the place of the
            deep fusion; in `forward`, when the height or width is no multiple of 16.

    Example:
        >>> network = VGG16GradingUNet(widths=(4, 8, 8, 16, 16), tasks="all")
        >>> {task: tuple(logits.shape) for task, logits in network(torch.rand(2, 3, 32, 32)).items()}
        {'grade': (2, 5), 'segmentation': (2, 5, 32, 32)}
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 5,
        num_grades: int = 5,
        widths: Sequence[int] = VGG16_WIDTHS,
        shared_groups: int = 3,
        deep_fusion: str | None = "cbam",
        deep_fusion_place: str = "en_5",
        shallow_fusion: str | None = "spatial",
        batch_norm: bool = True,
        pretrained: str | os.PathLike[str] | None = None,
        tasks: str = "segmentation",
    ) -> None:
        super().__init__(("grade", "segmentation"), tasks)
        if len(widths) != len(VGG16_CONVOLUTIONS):
            raise ValueError(f"the widths are those of VGG16's five groups, got {tuple(widths)}.")
        if shared_groups not in (3, 4, 5):
            raise ValueError(f"shared_groups is 3, 4 or 5, not {shared_groups!r}.")
        if deep_fusion_place not in DEEP_FUSION_PLACES:
            raise ValueError(f"deep_fusion_place is one of {', '.join(DEEP_FUSION_PLACES)}, not {deep_fusion_place!r}.")
        deep_fusion, shallow_fusion = (None if name == "none" else name for name in (deep_fusion, shallow_fusion))
        if deep_fusion is not None and shared_groups == 5 and deep_fusion_place != "en_5":
            raise ValueError(f"after fusion at {deep_fusion_place} both tasks have a fifth group, it cannot be shared.")
        self.divisor = 16
        self.place = deep_fusion_place
        groups = _groups(VGG16(in_channels, batch_norm, widths, pretrained))
        self.shared = nn.ModuleList(groups[:3])
        self.segmentation_group_4, self.segmentation_group_5 = groups[3:]
        own = _groups(VGG16(in_channels, batch_norm, widths, pretrained))
        self.grading_group_4 = own[3] if shared_groups < 4 else None
        self.grading_group_5 = own[4] if shared_groups < 5 else None
        self.decoder_4 = _decoder_block(widths, 3)
        self.decoder = nn.ModuleList(_decoder_block(widths, level) for level in (2, 1, 0))
        self.segmentation_head = nn.Conv2d(widths[0], out_channels, kernel_size=1)
        level = 4 if deep_fusion_place == "en_5" else 3
        self.deep_fusion = None if deep_fusion is None else DeepFusion(widths[level], widths[level], deep_fusion)
        self.shallow_fusion = None if shallow_fusion is None else ShallowFusion(out_channels, widths[4], shallow_fusion)
        self.grading_features = nn.Identity()
        self.grading_head = nn.Linear(widths[4], num_grades)
        self.group_names = _group_names(shared_groups)
        initialise(self.decoder_4, self.decoder, self.segmentation_head)
        if self.shallow_fusion is not None:
            initialise(self.shallow_fusion.shrink)

    def forward_tasks(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return logits ``grade`` (N, num_grades) and ``segmentation`` (N, out_channels, H, W).

        Args:
            x: float images (N, in_channels, H, W).
        """
        check_divisible(x, self.divisor)
        skips: list[torch.Tensor] = []
        for group in self.shared:
            x = group(x)
            skips.append(x)
        segmentation = self.segmentation_group_4(x)
        grading = segmentation if self.grading_group_4 is None else self.grading_group_4(x)
        if self.deep_fusion is not None and self.place == "en_4":
            segmentation, grading = self.deep_fusion(segmentation, grading)

        deepest = self.segmentation_group_5(segmentation)
        if self.deep_fusion is not None and self.place == "de_4":
            segmentation, grading = self.deep_fusion(self.decoder_4([segmentation], deepest), grading)
        grading = deepest if self.grading_group_5 is None else self.grading_group_5(grading)
        if self.deep_fusion is not None and self.place == "en_5":
            deepest, grading = self.deep_fusion(deepest, grading)
        if self.deep_fusion is None or self.place != "de_4":
            segmentation = self.decoder_4([segmentation], deepest)

        for block in self.decoder:
            segmentation = block([skips.pop()], segmentation)
        segmentation = self.segmentation_head(segmentation)
        if self.shallow_fusion is not None:
            grading = self.shallow_fusion(torch.softmax(segmentation, dim=1), grading)
        grading = self.grading_features(grading)
        return {"grade": self.grading_head(grading.mean((2, 3))), "segmentation": segmentation}


def _groups(encoder: VGG16) -> list[nn.Module]:
    """VGG16's groups one by one, each after the first with the pool before it."""
    starts = [0, *(end + 1 for end in encoder.group_ends[:-1])]
    return [encoder.features[start : end + 1] for start, end in zip(starts, encoder.group_ends, strict=True)]


def _decoder_block(widths: Sequence[int], level: int) -> DecoderBlock:
    return DecoderBlock(widths[level], widths[level + 1], widths[level], VGG16_CONVOLUTIONS[level])


def _group_names(shared_groups: int) -> dict[str, list[str]]:
    """Names of the modules that are VGG16's five groups for each task."""
    segmentation = [*(f"shared.{index}" for index in range(3)), "segmentation_group_4", "segmentation_group_5"]
    own = [f"grading_group_{number}" for number in range(shared_groups + 1, 6)]
    return {"grade": segmentation[:shared_groups] + own, "segmentation": segmentation}
