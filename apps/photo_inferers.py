"""How a bundle's inferer takes a photo, in windows or whole, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from monai.bundle import ConfigParser
from monai.inferers import Inferer
from monai.utils import ensure_tuple_rep, fall_back_tuple

from tinylesions.apps.wording import counted
from tinylesions.datasets import InputError, photo_size
from tinylesions.inferers import ForegroundSlidingWindowInferer, WindowPlan, resolve_precision

__all__ = ["PhotoInferer", "WholePhoto", "Windows", "photo_inferer"]

_OF_WINDOWS = {"overlap": "--overlap", "fast": "--fast"}


class PhotoInferer(Protocol):
    """One kind of inference over photos."""

    def settings(self, device: torch.device) -> dict[str, Any]:
        """What the results depend on."""

    def announce(self, paths: Sequence[Path]) -> str:
        """How much work photos are, from their files' headers."""

    def plan(self, data: Mapping[Any, Any]) -> dict[str, int]:
        """The facts of a preprocessed photo's work that belong into its summary."""

    def describe(self, data: Mapping[Any, Any]) -> str:
        """How much work a photo is that has been planned."""

    def infer(
        self,
        data: Mapping[Any, Any],
        network: torch.nn.Module,
        device: torch.device,
        on_estimate: Callable[[float], None],
    ) -> torch.Tensor | dict[Any, torch.Tensor]:
        """Return the network's output for a preprocessed photo; `on_estimate` may be told its seconds.

        It is a tensor (K, H, W), or a dict of tensors, each without the dimension of a batch.
        """


@dataclass(frozen=True)
class Windows:
    """A photo is cut into windows, and those that touch its ``foreground`` are run.

    Where the preprocessing gives no foreground, the inferer's own rule says which.

    Attributes:
        inferer: the bundle's.
        show_progress: show a bar for each photo instead of an estimate.
        spatial_size: (height, width) that the photo is stretched to before it is cut, in pixels, -1 for its own,
            where the bundle's config tells.
    """

    inferer: ForegroundSlidingWindowInferer
    show_progress: bool
    spatial_size: Sequence[int] | None = None

    def __post_init__(self) -> None:
        self.inferer.progress = self.show_progress

    def settings(self, device: torch.device) -> dict[str, Any]:
        """Size and overlap of the windows, and the arithmetic."""
        stretched = {} if self.spatial_size is None else {"spatial_size": list(self.spatial_size)}
        return {
            **stretched,
            "roi_size": list(ensure_tuple_rep(self.inferer.roi_size, 2)),
            "overlap": self.inferer.overlap,
            "precision": _precision(self.inferer, device),
            "fast": self.inferer.fast,
            **_flips(self.inferer),
        }

    def announce(self, paths: Sequence[Path]) -> str:
        """At most so many windows, since crop and foreground make it less."""

        @cache
        def whole_plan(size: tuple[int, int]) -> WindowPlan:
            everywhere = torch.ones(1, 1, *size, dtype=torch.bool)
            return self.inferer.plan(everywhere, everywhere)

        plans = []
        for path in paths:
            with suppress(InputError):  # it is reported when its turn comes
                height, width = fall_back_tuple(self.spatial_size, photo_size(path))
                plans.append(whole_plan((height, width)))
        windows = counted(sum(plan.windows for plan in plans), "window")
        sides = max((plan.grid.roi_size for plan in plans), default=ensure_tuple_rep(self.inferer.roi_size, 2))
        manner = "fast" if self.inferer.fast else f"overlap {self.inferer.overlap:g}"
        return f"at most {windows} of {'×'.join(map(str, sides))} px, {manner}{_mirrored(self.inferer)}"

    def plan(self, data: Mapping[Any, Any]) -> dict[str, int]:
        """How many windows run and how many do not."""
        plan = self.inferer.plan(data["image"][None], _foreground(data))
        return {"windows": plan.windows, "windows_skipped": plan.skipped}

    def describe(self, data: Mapping[Any, Any]) -> str:
        """The size of the field of view and the windows."""
        height, width = data["image"].shape[1:]
        windows = counted(data["windows"], "window")
        if "foreground" not in data:
            return f"{width}×{height} px, {windows}"
        return f"field of view {width}×{height} px, {windows}, {data['windows_skipped']:,} skipped"

    def infer(
        self,
        data: Mapping[Any, Any],
        network: torch.nn.Module,
        device: torch.device,
        on_estimate: Callable[[float], None],
    ) -> torch.Tensor:
        """Return the stitched map."""
        self.inferer.on_estimate = None if self.show_progress else on_estimate
        image, foreground = data["image"][None].to(device), _foreground(data)
        foreground = None if foreground is None else foreground.to(device)
        return self.inferer(image, network, foreground=foreground)[0]


@dataclass(frozen=True)
class WholePhoto:
    """A photo goes through the network as a whole.

    Attributes:
        inferer: the bundle's.
        longest_side: of the photo as the network gets it, in pixels, where the bundle's config tells.
        spatial_size: (height, width) that it is stretched to, in pixels, where the config tells that.
    """

    inferer: Inferer
    longest_side: int | None = None
    spatial_size: Sequence[int] | None = None

    def settings(self, device: torch.device) -> dict[str, Any]:
        """The photo's size, if it is known, and the arithmetic."""
        sizes = {"longest_side": self.longest_side, "spatial_size": self.spatial_size}
        known = {name: size for name, size in sizes.items() if size is not None}
        return {**known, "precision": _precision(self.inferer, device), **_flips(self.inferer)}

    def announce(self, paths: Sequence[Path]) -> str:
        """Nothing is cut, and the size if it is known."""
        longer = "" if self.longest_side is None else f", the longer side {self.longest_side} px"
        stretched = "" if self.spatial_size is None else ", stretched to {1}×{0} px".format(*self.spatial_size)
        return f"each as a whole{longer}{stretched}{_mirrored(self.inferer)}"

    def plan(self, data: Mapping[Any, Any]) -> dict[str, int]:
        """Nothing."""
        return {}

    def describe(self, data: Mapping[Any, Any]) -> str:
        """The size of the photo as the network gets it."""
        height, width = data["image"].shape[1:]
        return f"{width}×{height} px, as a whole"

    def infer(
        self,
        data: Mapping[Any, Any],
        network: torch.nn.Module,
        device: torch.device,
        on_estimate: Callable[[float], None],
    ) -> torch.Tensor | dict[Any, torch.Tensor]:
        """Return the network's output; it is too soon there for an estimate."""
        with torch.no_grad():
            output = self.inferer(data["image"][None].to(device), network)
        return {key: tensor[0] for key, tensor in output.items()} if isinstance(output, dict) else output[0]


def photo_inferer(parser: ConfigParser, overrides: Collection[str], show_progress: bool) -> PhotoInferer:
    """What a bundle's ``inferer`` is.

    Args:
        parser: of the bundle's inference config.
        overrides: ids that the user gave values for.
        show_progress: show a bar for what takes long.

    Raises:
        InputError: an override is about windows, of which the bundle cuts none, or asks for an explanation, and the
            bundle's inferer has none to give.
    """
    inferer = parser.get_parsed_content("inferer")
    if "explain" in overrides and getattr(inferer, "explainer", None) is None:
        raise InputError(
            "--explain is for bundles that grade photos and show where the evidence lies, and this one does not: leave"
            " it out."
        )
    if isinstance(inferer, ForegroundSlidingWindowInferer):
        return Windows(inferer, show_progress, **_told(parser, "spatial_size"))
    for id_, option in _OF_WINDOWS.items():
        if id_ in overrides:
            raise InputError(
                f"{option} is for bundles that cut photos into windows, and this one takes each photo whole: leave it"
                " out."
            )
    return WholePhoto(inferer, **_told(parser, "longest_side", "spatial_size"))


def _flips(inferer: Inferer) -> dict[str, Any]:
    """The mirror images that the network looks at, where there are some."""
    flips = [list(axes) for axes in getattr(inferer, "flips", ((),))]
    return {} if flips == [[]] else {"flips": flips}


def _mirrored(inferer: Inferer) -> str:
    """How often the network runs, where it is more than once."""
    looks = len(getattr(inferer, "flips", ((),)))
    return f", the mean of {looks} mirror images" if looks > 1 else ""


def _told(parser: ConfigParser, *names: str) -> dict[str, Any]:
    """What the config tells of the photos' sizes."""
    return {name: parser.get_parsed_content(name) for name in names if name in parser}


def _foreground(data: Mapping[Any, Any]) -> torch.Tensor | None:
    """The mask (1, 1, H, W) of what windows have to touch, if the preprocessing gives one."""
    return data["foreground"][None] if "foreground" in data else None


def _precision(inferer: Inferer, device: torch.device) -> str:
    """The dtype's name; MONAI's own inferers leave the network in float32."""
    return str(resolve_precision(getattr(inferer, "precision", "float32"), device)).removeprefix("torch.")
