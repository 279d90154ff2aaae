"""Phantoms: procedural fundus photos and OCTA images with exact masks, and writers of official data sets' folders."""

from __future__ import annotations

from tinylesions.datasets.phantoms.ddr import write_ddr_grading, write_ddr_segmentation
from tinylesions.datasets.phantoms.drac import write_drac
from tinylesions.datasets.phantoms.eyepacs import write_eyepacs
from tinylesions.datasets.phantoms.idrid import write_idrid_grading, write_idrid_segmentation
from tinylesions.datasets.phantoms.octa import OctaPhantom, draw_octa
from tinylesions.datasets.phantoms.photo import FundusPhantom, draw_fundus

__all__ = [
    "FundusPhantom",
    "OctaPhantom",
    "draw_fundus",
    "draw_octa",
    "write_ddr_grading",
    "write_ddr_segmentation",
    "write_drac",
    "write_eyepacs",
    "write_idrid_grading",
    "write_idrid_segmentation",
]
