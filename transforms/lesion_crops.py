"""Random crops for training in which rare and small lesions are seen as often as others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform, MultiSampleTrait, Randomizable
from monai.utils import convert_to_numpy, convert_to_tensor, ensure_tuple_rep

from tinylesions.transforms.lesion_indices import INDICES_POSTFIX, LesionIndices, lesion_indices

__all__ = ["RandLesionCropsd"]

JITTER = 0.35
"""A lesion's pixel lies at most so far from the crop's centre, as a share of its sides: not always in the middle."""


class RandLesionCropsd(Randomizable, MapTransform, MultiSampleTrait):
    """Crop around lesions, or anywhere in the field of view.

    MONAI's ``RandCropByLabelClassesd`` draws a pixel of a class, so that the large lesions of a class get nearly all
    crops, and wants classes that exclude each other. Here a lesion is drawn first, by `lesion_weights` among those
    that the photo holds. Then, in half of the cases, one of its connected components, each as likely whatever its
    size, and a pixel of it, and else one of all its pixels. The rest of the crops, and all of a photo without lesions,
    lie around a pixel of the field of view. A crop that leaves the photo is 0 there. Crops are copies without metadata;
    nothing but `keys` is kept.

    Args:
        keys: keys to crop, (C, H, W) each and of one height and width.
        label_key: key of the masks (K, H, W), one for each lesion. What
            :class:`~tinylesions.transforms.lesion_indices.LesionIndicesd` found in them is used where it is there.
        mask_key: key of the field of view (1, H, W), above 0 inside.
        spatial_size: (h, w) of a crop in pixels, or one number for both.
        lesion_share: share of the crops that are around a lesion, 0 to 1.
        lesion_weights: how often each lesion is drawn relative to others, so that a lesion of few photos is seen as
            often as one of all; each as often by default.
        num_samples: crops of each photo.
        allow_missing_keys: do not raise where one of `keys` is missing.

    Raises:
        ValueError: an argument is out of range; in the call: the images differ in size, the indices are of other masks,
            or the field of view is empty.

    Example:
        >>> label = torch.zeros(4, 90, 120, dtype=torch.uint8)
        >>> label[0, 70, 10] = 1
        >>> photo = {"image": torch.rand(3, 90, 120), "label": label, "field_of_view": torch.ones(1, 90, 120)}
        >>> crop = RandLesionCropsd(["image", "label"], spatial_size=48, lesion_share=1.0)
        >>> [(tuple(item["image"].shape), int(item["label"].sum())) for item in crop(photo)]
        [((3, 48, 48), 1)]
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        mask_key: str = "field_of_view",
        spatial_size: Sequence[int] | int = (576, 576),
        lesion_share: float = 0.5,
        lesion_weights: Sequence[float] | None = None,
        num_samples: int = 1,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.spatial_size = ensure_tuple_rep(spatial_size, 2)
        if min(self.spatial_size) < 1 or num_samples < 1:
            raise ValueError(f"spatial_size and num_samples are at least 1, got {spatial_size} and {num_samples}")
        if not 0 <= lesion_share <= 1:
            raise ValueError(f"lesion_share is between 0 and 1, got {lesion_share}")
        if lesion_weights is not None and min(lesion_weights, default=0) <= 0:
            raise ValueError(f"lesion_weights are above 0, one for each lesion, got {list(lesion_weights)}")
        self.lesion_weights = lesion_weights
        self.label_key = label_key
        self.mask_key = mask_key
        self.lesion_share = lesion_share
        self.num_samples = num_samples
        self._farthest = [int(JITTER * side) for side in self.spatial_size]
        self.centres: list[tuple[int, int]] = []

    def randomize(  # type: ignore[override]  # MONAI's own subclasses name what they draw from, too
        self, indices: Sequence[LesionIndices], field_of_view: np.ndarray
    ) -> None:
        """Draw the crops' centres.

        Args:
            indices: of each lesion.
            field_of_view: (H, W), above 0 inside.
        """
        weighted = zip(indices, self.lesion_weights or [1.0] * len(indices), strict=True)
        present = [(lesion, weight) for lesion, weight in weighted if lesion.components]
        lesions = [lesion for lesion, _ in present]
        bounds = np.cumsum([weight for _, weight in present])
        self.centres = [
            self._near_lesion(lesions[self._drawn(bounds)], field_of_view.shape[1])
            if self.R.random_sample() < self.lesion_share and lesions
            else self._anywhere(field_of_view)
            for _ in range(self.num_samples)
        ]

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        """Return the crops."""
        field_of_view = convert_to_numpy(data[self.mask_key])[0]
        indices = data.get(f"{self.label_key}{INDICES_POSTFIX}")
        if indices is None:
            indices = [lesion_indices(mask) for mask in convert_to_numpy(data[self.label_key])]
        tensors = {key: convert_to_tensor(data[key], track_meta=False) for key in self.key_iterator(data)}
        label = data[self.label_key]
        sizes = {tuple(tensor.shape[1:]) for tensor in (label, *tensors.values())} | {field_of_view.shape}
        if len(sizes) > 1:
            raise ValueError(f"photo, masks and field of view have to be of one size, got {sorted(sizes)}")
        if len(indices) != len(label):
            raise ValueError(f"the indices are of {len(indices)} lesions and the masks of {len(label)}")
        if self.lesion_weights is not None and len(self.lesion_weights) != len(label):
            raise ValueError(f"the weights are of {len(self.lesion_weights)} lesions and the masks of {len(label)}")
        self.randomize(indices, field_of_view)
        return [
            {key: _cropped(tensor, centre, self.spatial_size) for key, tensor in tensors.items()}
            for centre in self.centres
        ]

    def _drawn(self, bounds: np.ndarray) -> int:
        return int(np.searchsorted(bounds, self.R.random_sample() * bounds[-1], side="right"))

    def _near_lesion(self, lesion: LesionIndices, width: int) -> tuple[int, int]:
        start, end = 0, len(lesion.pixels)
        if self.R.random_sample() < 0.5:
            component = self.R.randint(lesion.components)
            start, end = lesion.bounds[component : component + 2]
        row, column = divmod(int(lesion.pixels[self.R.randint(start, end)]), width)
        down, right = (self.R.randint(-farthest, farthest + 1) for farthest in self._farthest)
        return row + down, column + right

    def _anywhere(self, field_of_view: np.ndarray) -> tuple[int, int]:
        inside = field_of_view > 0
        ends = np.cumsum([np.count_nonzero(row) for row in inside])  # six times faster than with an axis
        if not ends[-1]:
            raise ValueError("the field of view is empty: there is nothing to crop")
        rank = self.R.randint(ends[-1])
        row = int(np.searchsorted(ends, rank, side="right"))  # the row that holds the pixel of this rank
        return row, int(np.flatnonzero(inside[row])[rank - ends[row]])  # counted from the row's last pixel


def _cropped(image: torch.Tensor, centre: tuple[int, int], size: Sequence[int]) -> torch.Tensor:
    """(C, h, w) of `size` around a centre, 0 where it leaves the image (C, H, W): a copy."""
    top, left = (middle - side // 2 for middle, side in zip(centre, size, strict=True))
    # negative padding cuts off
    return F.pad(image, (-left, left + size[1] - image.shape[2], -top, top + size[0] - image.shape[1]))
