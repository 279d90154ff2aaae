"""Phantoms: procedural fundus photos with exact lesion masks, and writers of the official data sets' folders."""

from __future__ import annotations

from tinylesions.datasets.phantoms.ddr import write_ddr_grading, write_ddr_segmentation
from tinylesions.datasets.phantoms.eyepacs import write_eyepacs
from tinylesions.datasets.phantoms.idrid import write_idrid_grading, write_idrid_segmentation
from tinylesions.datasets.phantoms.photo import FundusPhantom, draw_fundus

__all__ = [
    "FundusPhantom",
    "draw_fundus",
    "write_ddr_grading",
    "write_ddr_segmentation",
    "write_eyepacs",
    "write_idrid_grading",
    "write_idrid_segmentation",
]
