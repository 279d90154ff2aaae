"""Options that several commands share, and the words they take."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Optional

import typer

from tinylesions.datasets import LAYOUTS, InputError
from tinylesions.monai_bundles import BUNDLES, Bundle

__all__ = [
    "DEFAULT_BUNDLE",
    "FOLDER",
    "IDRID",
    "BundleOption",
    "LayoutName",
    "PhantomLayout",
    "Precision",
    "PresetOption",
    "checked_presets",
]

DEFAULT_BUNDLE = next(iter(BUNDLES))
LayoutName = Enum("LayoutName", {name: name for name in LAYOUTS}, type=str)  # type: ignore[misc]
FOLDER = LayoutName("folder")
PHANTOM_LAYOUTS = ("idrid", "ddr", "eyepacs", "drac", "conic", "monusac")
PhantomLayout = Enum("PhantomLayout", {name: name for name in PHANTOM_LAYOUTS}, type=str)  # type: ignore[misc]
IDRID = PhantomLayout("idrid")
Precision = Enum("Precision", {name: name for name in ("auto", "float32", "bf16", "fp16")}, type=str)  # type: ignore[misc]

_TITLES = "; ".join(f"{bundle.name}: {bundle.title}" for bundle in BUNDLES.values())
BundleOption = Annotated[str, typer.Option("--bundle", help=f"What is looked for and how. {_TITLES}.")]
PresetOption = Annotated[
    Optional[str],  # noqa: UP045  typer reads it at run time, on Python 3.10 too
    typer.Option(help="A smaller setting than the paper's: cpu. Weights need the preset they were trained with."),
]


def checked_presets(bundle: Bundle, preset: str | None) -> list[str]:
    """Return the configs of a preset, none where none is asked for.

    Raises:
        InputError: the bundle has no such preset.
    """
    if preset is None:
        return []
    if preset not in bundle.presets:
        raise InputError(f"{bundle.name} has no preset {preset!r}: choose one of {', '.join(bundle.presets)}.")
    return [preset]
