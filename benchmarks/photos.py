"""The photos that benchmarks run on: phantoms, drawn the same each time."""

from __future__ import annotations

import torch

from tinylesions.datasets.phantoms import draw_fundus
from tinylesions.inferers import ForegroundSlidingWindowInferer
from tinylesions.transforms.field_of_view import field_of_view_mask

__all__ = ["fundus_photo", "piece_of_same_share"]

FULL_SIZE = (2848, 4288)


def fundus_photo(size: tuple[int, int] = FULL_SIZE, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A drawn photo (1, 3, H, W) float32 in [0, 1] and its field of view (1, H, W) bool."""
    photo = torch.from_numpy(draw_fundus(seed, size, 3).photo).permute(2, 0, 1)
    return photo[None].float() / 255, torch.from_numpy(field_of_view_mask(photo))[None]


def piece_of_same_share(
    photo: torch.Tensor, mask: torch.Tensor, windows: tuple[int, int], inferer: ForegroundSlidingWindowInferer
) -> tuple[torch.Tensor, torch.Tensor]:
    """The piece, so many rows and columns of windows large, whose share of windows to run is nearest to the photo's."""
    plan = inferer.plan(photo, mask)
    run = plan.run[0, :-1, :-1].float()  # without the last windows, which the border may have moved
    shares = torch.nn.functional.avg_pool2d(run[None], windows, stride=1)[0]
    row, column = divmod(int((shares - plan.run.float().mean()).abs().argmin()), shares.shape[1])
    (top, bottom), (left, right) = (
        (starts[first], starts[first + count - 1] + roi)
        for starts, first, count, roi in zip(
            (plan.grid.tops, plan.grid.lefts), (row, column), windows, plan.grid.roi_size, strict=True
        )
    )
    return photo[:, :, top:bottom, left:right], mask[:, top:bottom, left:right]
