"""Phantoms: procedural fundus photos, OCTA images and tissue with exact labels, and writers of official folders."""

from __future__ import annotations

from tinylesions.datasets.phantoms.conic import write_conic
from tinylesions.datasets.phantoms.ddr import write_ddr_grading, write_ddr_segmentation
from tinylesions.datasets.phantoms.drac import write_drac
from tinylesions.datasets.phantoms.eyepacs import write_eyepacs
from tinylesions.datasets.phantoms.histology import draw_tile
from tinylesions.datasets.phantoms.idrid import write_idrid_grading, write_idrid_segmentation
from tinylesions.datasets.phantoms.monusac import write_monusac
from tinylesions.datasets.phantoms.octa import OctaPhantom, draw_octa
from tinylesions.datasets.phantoms.photo import FundusPhantom, draw_fundus

__all__ = [
    "FundusPhantom",
    "OctaPhantom",
    "draw_fundus",
    "draw_octa",
    "draw_tile",
    "write_conic",
    "write_ddr_grading",
    "write_ddr_segmentation",
    "write_drac",
    "write_eyepacs",
    "write_idrid_grading",
    "write_idrid_segmentation",
    "write_monusac",
]
