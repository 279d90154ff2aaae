"""The layouts a data set can have on disk, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .conic import conic
from .datalists import load_datalist
from .ddr import ddr_segmentation
from .drac import drac_segmentation
from .errors import InputError
from .graded_ddr import ddr_grading
from .graded_eyepacs import eyepacs
from .graded_idrid import idrid_grading
from .idrid import idrid_segmentation
from .lesions import ALL_LESIONS, LESIONS, OCTA_LESIONS
from .monusac import monusac
from .nuclei import CONIC_CLASSES, MONUSAC_CLASSES
from .photo_folder import photo_folder

__all__ = ["LAYOUTS", "Layout", "layout_classes", "read_layout"]


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk.

    Attributes:
        read: makes the datalist from the root.
        allow_empty: whether a mask without a lesion pixel is right: DDR writes black masks for absent lesions, IDRiD
            and DRAC2022 have no file for them, and a grading layout has no masks.
        lesions: those that its labels may name: `LESIONS` in fundus photos, `OCTA_LESIONS` in OCTA images. A JSON
            datalist and a folder of one's own name those of either family, nuclei have none.
        classes: of the nuclei, the background first; empty for lesions and grades.
        own_lesions: whether its labels may also name other lesions, see `lesions_of`.
    """

    read: Callable[..., list[dict[str, Any]]]
    allow_empty: bool
    lesions: tuple[str, ...] = LESIONS
    classes: tuple[str, ...] = ()
    own_lesions: bool = False


LAYOUTS = {
    "idrid": Layout(idrid_segmentation, allow_empty=False),
    "idrid_43_11": Layout(partial(idrid_segmentation, split_rule="43/11/27"), allow_empty=False),
    "ddr": Layout(ddr_segmentation, allow_empty=True),
    "json": Layout(load_datalist, allow_empty=True, lesions=ALL_LESIONS),
    "folder": Layout(photo_folder, allow_empty=True, lesions=ALL_LESIONS, own_lesions=True),
    "idrid_grading": Layout(idrid_grading, allow_empty=True),
    "ddr_grading": Layout(ddr_grading, allow_empty=True),
    "eyepacs": Layout(eyepacs, allow_empty=True),
    "drac": Layout(drac_segmentation, allow_empty=False, lesions=OCTA_LESIONS),
    "conic": Layout(conic, allow_empty=True, lesions=(), classes=CONIC_CLASSES),
    "monusac": Layout(monusac, allow_empty=True, lesions=(), classes=MONUSAC_CLASSES),
}
"""Official folders of lesion masks (IDRiD as two papers split it, DDR, DRAC2022), of grades (IDRiD, DDR, EyePACS) and
of nuclei (CoNIC, MoNuSAC), the JSON datalist of one's own photos, whose root is the file, and a folder of one's own
photos and masks."""


def read_layout(layout: str, root: Path | str, **options: Any) -> list[dict[str, Any]]:
    """Return the datalist of a data set.

    Args:
        layout: one of ``LAYOUTS``.
        root: the data set's folder, or the file of a JSON datalist.
        options: of a layout of nuclei: ``split_rule``, ``validation_share``, ``test_share``, ``seed``.

    Raises:
        InputError: an unknown layout, one that has no such options, or what the layout's reader finds wrong.
    """
    found = _find(layout)
    if options and not found.classes:
        raise InputError(f"the layout {layout!r} holds no nuclei and has no {', '.join(options)}: choose {_nuclei()}.")
    return found.read(root, **options)


def layout_classes(layout: str) -> list[str]:
    """Return the classes of a layout of nuclei, the background first.

    Raises:
        InputError: an unknown layout, or one of lesions or grades.
    """
    found = _find(layout)
    if not found.classes:
        raise InputError(f"the layout {layout!r} holds no nuclei: choose {_nuclei()}.")
    return list(found.classes)


def _find(layout: str) -> Layout:
    if layout not in LAYOUTS:
        raise InputError(f"there is no layout {layout!r}: choose one of {', '.join(LAYOUTS)}.")
    return LAYOUTS[layout]


def _nuclei() -> str:
    return ", ".join(name for name, layout in LAYOUTS.items() if layout.classes)
