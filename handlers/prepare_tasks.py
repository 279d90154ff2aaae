"""Batches of photos with a grade and lesion masks, as a network of both tasks takes them."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines.utils import PrepareBatch

__all__ = ["PrepareTasks"]


class PrepareTasks(PrepareBatch):
    """Part a batch into the images and the targets of both tasks, as plain tensors on the engine's device.

    The batch holds ``image`` (N, C, H, W), ``label`` (N, 1, H, W), a label map, ``grade`` (N,), and for both the
    weight of each photo's label in the loss (N,): ``label_weight`` and ``grade_weight``, 0 where it is unknown.

    Example:
        >>> batch = {"image": torch.rand(2, 3, 8, 8), "label": torch.zeros(2, 1, 8, 8, dtype=torch.uint8)}
        >>> batch |= {"label_weight": [1.0, 0.0], "grade": [3, -1], "grade_weight": [1.0, 0.0]}
        >>> image, targets = PrepareTasks()(batch)
        >>> {name: tuple(target.shape) for name, target in targets.items()}
        {'grade': (2,), 'grade_weight': (2,), 'segmentation': (2, 1, 8, 8), 'segmentation_weight': (2,)}
    """

    def __call__(
        self,
        batchdata: dict[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Move the batch.

        Args:
            batchdata: the batch.
            device: where to.
            non_blocking: whether not to wait, see ``Tensor.to``.
            kwargs: further arguments of ``Tensor.to`` for the images: a memory format is none of the grades'.

        Returns:
            The images, and ``grade`` (N,) int64, ``segmentation`` (N, 1, H, W) as it came, ``grade_weight`` and
            ``segmentation_weight`` (N,) float32.
        """
        targets = {
            "grade": _plain(batchdata["grade"]).long(),
            # some accelerators have no float64, which numbers are collated to
            "grade_weight": _plain(batchdata["grade_weight"]).float(),
            "segmentation": _plain(batchdata["label"]),
            "segmentation_weight": _plain(batchdata["label_weight"]).float(),
        }
        image = _plain(batchdata["image"]).to(device=device, non_blocking=non_blocking, **kwargs)
        return image, {name: target.to(device=device, non_blocking=non_blocking) for name, target in targets.items()}


def _plain(values: Any) -> torch.Tensor:
    """Without the metadata that MONAI's tensors carry through every operation."""
    return torch.as_tensor(values).as_subclass(torch.Tensor)
