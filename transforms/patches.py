"""Cut a photo into the windows of a sliding-window grid, for training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data.utils import dense_patch_slices
from monai.transforms import MapTransform, MultiSampleTrait, Randomizable
from monai.utils import convert_to_tensor, ensure_tuple_rep

from tinylesions.datasets.lesions import CLASSES, LESIONS

__all__ = ["SlidingWindowPatchesd", "lesion_windows", "window_origins"]

_LESION_CLASSES = tuple(CLASSES.index(lesion) for lesion in LESIONS)


def window_origins(size: Sequence[int], roi_size: Sequence[int], overlap: float = 0.0) -> torch.Tensor:
    """Top left corners of the windows that MONAI's ``SlidingWindowInferer`` cuts from a photo of this size.

    Args:
        size: (H, W) of the photo, at least `roi_size`.
        roi_size: (h, w) of a window.
        overlap: share of a window that its neighbour covers, in [0, 1).

    Returns:
        (windows, 2) int64, rows before columns.
    """
    interval = tuple(max(1, int(side * (1 - overlap))) for side in roi_size)
    slices = dense_patch_slices(size, roi_size, interval)
    return torch.tensor([[rows.start, columns.start] for rows, columns in slices], dtype=torch.int64)


def lesion_windows(label_map: torch.Tensor, origins: torch.Tensor, roi_size: Sequence[int]) -> torch.Tensor:
    """Which windows hold at least one lesion pixel.

    Args:
        label_map: (1, H, W) class indices.
        origins: (windows, 2), see :func:`window_origins`.
        roi_size: (h, w) of a window.

    Returns:
        (windows,) bool.
    """
    lesion = torch.isin(label_map[0], torch.tensor(_LESION_CLASSES, dtype=label_map.dtype))
    # the summed-area table gives a window's lesion pixels from its four corners
    table = F.pad(lesion.int().cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32), (1, 0, 1, 0))
    top, left = origins.unbind(1)
    bottom, right = top + roi_size[0], left + roi_size[1]
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left] > 0


class SlidingWindowPatchesd(Randomizable, MapTransform, MultiSampleTrait):
    """Cut photo and labels into the windows of the sliding-window grid (multi-task UNet++ paper, section 1.2).

    Windows without any lesion are dropped, as in the paper, or a share of them is kept. The windows are copies
    without metadata, so that the photo can be freed; a photo smaller than a window is padded with 0 at its bottom
    and right, its label with the black background. Nothing but `keys` is kept.

    Args:
        keys: keys to cut, (C, H, W) each and of one height and width.
        roi_size: (h, w) of a window, or one number for both.
        overlap: share of a window that its neighbour covers, in [0, 1).
        label_key: key of the (1, H, W) label map, one of `keys`.
        lesion_free_share: share in [0, 1] of the lesion-free windows that are kept, drawn at random; 0 is the paper's.

    Raises:
        ValueError: a share or an overlap is out of range.

    Example:
        >>> photo, label_map = torch.zeros(3, 128, 128), torch.zeros(1, 128, 128, dtype=torch.uint8)
        >>> label_map[0, 70, 10] = 1
        >>> cut = SlidingWindowPatchesd(["image", "label"], roi_size=64)
        >>> [tuple(window["image"].shape) for window in cut({"image": photo, "label": label_map})]
        [(3, 64, 64)]
    """

    def __init__(
        self,
        keys: KeysCollection,
        roi_size: Sequence[int] | int = 64,
        overlap: float = 0.0,
        label_key: str = "label",
        lesion_free_share: float = 0.0,
    ) -> None:
        super().__init__(keys)
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap is at least 0 and below 1, got {overlap}")
        if not 0 <= lesion_free_share <= 1:
            raise ValueError(f"lesion_free_share is between 0 and 1, got {lesion_free_share}")
        self.roi_size = ensure_tuple_rep(roi_size, 2)
        self.overlap = overlap
        self.label_key = label_key
        self.lesion_free_share = lesion_free_share

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        """Return the windows, in the grid's order."""
        height, width = self.roi_size
        tensors = {}
        for key in self.key_iterator(data):
            tensor = convert_to_tensor(data[key], track_meta=False)
            missing = (0, max(0, width - tensor.shape[2]), 0, max(0, height - tensor.shape[1]))
            value = CLASSES.index("black_background") if key == self.label_key else 0
            tensors[key] = F.pad(tensor, missing, value=value) if any(missing) else tensor
        label_map = tensors[self.label_key]
        origins = window_origins(label_map.shape[1:], self.roi_size, self.overlap)
        keep = lesion_windows(label_map, origins, self.roi_size)
        if self.lesion_free_share > 0:
            keep |= torch.from_numpy(self.R.random_sample(len(keep)) < self.lesion_free_share)
        return [
            {key: t[:, top : top + height, left : left + width].clone() for key, t in tensors.items()}
            for top, left in origins[keep].tolist()
        ]
