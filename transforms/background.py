"""Even out the light of photos from different eyes and cameras."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.networks.layers import GaussianFilter
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch.nn.functional import avg_pool2d, interpolate

from tinylesions.datasets import InputError

__all__ = ["SubtractBackgroundd", "subtract_background"]

_REDUCTION = 8
"""The background is computed on a photo so many times smaller: it has no detail, and a wide filter is slow."""


def subtract_background(
    photo: torch.Tensor, field_of_view: torch.Tensor, sigma: float = 0.1, contrast: float = 3.0
) -> torch.Tensor:
    """Subtract from each pixel the mean colour of the retina around it.

    Retinas differ in pigment, cameras in exposure, and the light falls off towards the rim: the same lesion is dark
    orange here and pink there. What stays is how a pixel differs from what surrounds it (after Graham's pre-processing
    for the Kaggle grading contest of 2015, with a wider filter: in a narrow one, large plaques and bleedings become
    background themselves).

    Args:
        photo: (3, H, W), 0 to 255.
        field_of_view: (1, H, W), above 0 inside; only what lies inside counts as background.
        sigma: of the Gaussian weights, as a share of the photo's longer side.
        contrast: what the difference is multiplied by, at a range of 0 to 1.

    Returns:
        (3, H, W) float32: 0.5 + contrast · difference, cut to 0 to 1; 0 outside the field of view.

    Example:
        >>> photo, inside = torch.full((3, 64, 96), 120), torch.ones(1, 64, 96)
        >>> photo[:, 32, 48] += 17
        >>> subtract_background(photo, inside)[0, 32, 46:50].round(decimals=2)
        tensor([0.5000, 0.5000, 0.7000, 0.5000])
    """
    inside = (field_of_view > 0).float()
    image = photo.float() / 255 * inside
    smoothed = GaussianFilter(2, sigma * max(image.shape[1:]) / _REDUCTION)(
        avg_pool2d(torch.cat([image, inside])[None], _REDUCTION, ceil_mode=True)
    )
    sums = interpolate(smoothed, scale_factor=_REDUCTION, mode="bilinear")[0, :, : image.shape[1], : image.shape[2]]
    background = sums[:-1] / sums[-1:].clamp(min=1e-3)
    return (0.5 + contrast * (image - background)).clamp(0, 1) * inside


class SubtractBackgroundd(MapTransform):
    """:func:`subtract_background` of photos, in place of their grey levels.

    Args:
        keys: keys of photos (3, H, W), 0 to 255.
        mask_key: key of their field of view (1, H, W).
        sigma: of the Gaussian weights, as a share of the photo's longer side.
        contrast: what the difference is multiplied by.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        InputError: the field of view is empty.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mask_key: str = "foreground",
        sigma: float = 0.1,
        contrast: float = 3.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key
        self.sigma = sigma
        self.contrast = contrast

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the background subtracted."""
        items = dict(data)
        mask = convert_to_tensor(items[self.mask_key], track_meta=False)
        if not (mask > 0).any():
            raise InputError("the field of view is empty: leave the photo out, or check that it is a fundus photo.")
        for key in self.key_iterator(items):
            photo = convert_to_tensor(items[key], track_meta=False)
            flat = subtract_background(photo, mask, self.sigma, self.contrast)
            items[key] = convert_to_dst_type(flat, items[key], dtype=torch.float32)[0]
        return items
