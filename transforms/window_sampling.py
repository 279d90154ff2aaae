"""Which windows an epoch of training sees, and how often: by lesion-bearing share and by lesion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Sampler

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import CLASSES, LESIONS
from tinylesions.transforms.patches import lesion_windows

__all__ = ["WindowSampler", "WindowSampling", "draw_epoch", "epoch_generator", "lesions_in_windows"]

Quotas = list[tuple[torch.Tensor, int]]
"""Numbers of windows, and how many of them an epoch draws."""


def lesions_in_windows(label_map: torch.Tensor, origins: torch.Tensor, roi_size: Sequence[int]) -> torch.Tensor:
    """Which lesions each window of a photo holds.

    Args:
        label_map: (1, H, W) class indices.
        origins: (windows, 2), see :func:`~tinylesions.transforms.window_origins`.
        roi_size: (h, w) of a window.

    Returns:
        (windows, 4) bool, in ``LESIONS`` order.
    """
    alone = (label_map * (label_map == CLASSES.index(lesion)) for lesion in LESIONS)
    return torch.stack([lesion_windows(one, origins, roi_size) for one in alone], dim=1)


@dataclass(frozen=True)
class WindowSampling:
    """How many windows of which kind make an epoch. By default each window is drawn once, as in the paper.

    Args:
        windows_per_epoch: how many are drawn; None draws as many as there are.
        positive_share: share in (0, 1] of them that hold a lesion; None is their share of all windows.
        lesion_weights: divides the draws that hold a lesion among the lesions in this proportion: a lesion's draws
            come from the windows that hold it, whatever else they hold, so that equal weights show the rarest lesion
            as often as the commonest. A lesion that is left out has no draws of its own. None draws every window
            that holds a lesion alike.

    Raises:
        ValueError: a number out of range or an unknown lesion.
    """

    windows_per_epoch: int | None = None
    positive_share: float | None = None
    lesion_weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.windows_per_epoch is not None and self.windows_per_epoch < 1:
            raise ValueError(f"windows_per_epoch is at least 1, got {self.windows_per_epoch}")
        if self.positive_share is not None and not 0 < self.positive_share <= 1:
            raise ValueError(f"positive_share is above 0 and at most 1, got {self.positive_share}")
        if self.lesion_weights is not None:
            unknown = set(self.lesion_weights) - set(LESIONS)
            if unknown:
                raise ValueError(f"lesion_weights names {min(unknown)!r}: the lesions are {', '.join(LESIONS)}")
            weights = list(self.lesion_weights.values())
            if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
                raise ValueError(f"lesion_weights are at least 0 and not all 0, got {weights}")

    def quotas(self, held: torch.Tensor) -> Quotas:
        """Divide an epoch among kinds of windows.

        Args:
            held: (windows, 4) bool, the lesions of each window in ``LESIONS`` order.

        Raises:
            InputError: there is no window, or none of a kind that is to be drawn.
        """
        if len(held) == 0:
            raise InputError("No window is left to train on: no photo holds a lesion, and lesion_free_share is 0.")
        positive = held.any(1)
        total = self.windows_per_epoch or len(held)
        share = positive.double().mean().item() if self.positive_share is None else self.positive_share
        with_lesion = round(share * total)
        kinds = {"without a lesion (is lesion_free_share 0?)": (~positive, total - with_lesion)}
        if self.lesion_weights is None:
            kinds["with a lesion"] = (positive, with_lesion)
        else:
            weights = {lesion: weight for lesion, weight in self.lesion_weights.items() if weight > 0}
            counts = _apportion(with_lesion, list(weights.values()))
            for lesion, count in zip(weights, counts, strict=True):
                kinds[f"with a {lesion}"] = (held[:, LESIONS.index(lesion)], count)
        for kind, (members, count) in kinds.items():
            if count > 0 and not members.any():
                raise InputError(f"The sampling asks for {count} windows {kind}, and no photo has one.")
        return [(members.nonzero()[:, 0], count) for members, count in kinds.values() if count > 0]


def _apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Divide a whole number in proportion; the parts add up to it, and each is less than 1 from its exact share."""
    shares = torch.tensor(weights, dtype=torch.float64).cumsum(0)
    bounds = (total * shares / shares[-1]).round().long()
    return bounds.diff(prepend=torch.zeros(1, dtype=torch.int64)).tolist()


def epoch_generator() -> torch.Generator:
    """A generator seeded by torch's own, as ``RandomSampler`` does: who seeds an epoch decides what it draws."""
    return torch.Generator().manual_seed(int(torch.empty((), dtype=torch.int64).random_()))


def draw_epoch(quotas: Quotas, generator: torch.Generator) -> torch.Tensor:
    """Draw an epoch's windows, in random order.

    A window comes again only when all others of its kind have come as often.

    Args:
        quotas: see :meth:`WindowSampling.quotas`.
        generator: of the random numbers.

    Returns:
        (windows_per_epoch,) int64.
    """
    drawn = []
    for members, count in quotas:
        rounds = [torch.randperm(len(members), generator=generator) for _ in range(math.ceil(count / len(members)))]
        drawn.append(members[torch.cat(rounds)[:count]])
    epoch = torch.cat(drawn)
    return epoch[torch.randperm(len(epoch), generator=generator)]


class WindowSampler(Sampler[int]):
    """The sampling for a ``DataLoader`` over windows that :class:`SlidingWindowPatchesd` cut.

    Args:
        windows: items of the data set; their ``label`` is a (1, h, w) label map.
        sampling: how many windows of which kind.

    Raises:
        InputError: see :meth:`WindowSampling.quotas`.
    """

    def __init__(self, windows: Sequence[Mapping[str, torch.Tensor]], sampling: WindowSampling) -> None:
        held = torch.tensor([[bool((w["label"] == CLASSES.index(x)).any()) for x in LESIONS] for w in windows])
        self.quotas = sampling.quotas(held)

    def __len__(self) -> int:
        """Draws of an epoch."""
        return sum(count for _, count in self.quotas)

    def __iter__(self) -> Iterator[int]:
        """Draw an epoch."""
        yield from draw_epoch(self.quotas, epoch_generator()).tolist()
