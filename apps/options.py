"""Options that several commands share, and the words they take."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Optional

import typer

from tinylesions.datasets import LAYOUTS
from tinylesions.monai_bundles import BUNDLES

__all__ = ["DEFAULT_BUNDLE", "IDRID", "BundleOption", "LayoutName", "PhantomLayout", "Precision", "PresetOption"]

DEFAULT_BUNDLE = next(iter(BUNDLES))
LayoutName = Enum("LayoutName", {name: name for name in LAYOUTS}, type=str)  # type: ignore[misc]
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
