"""Readers of photos, masks and official data set layouts, and the check of what they hold."""

from .check import CheckReport, CheckRow, check_segmentation, iter_check
from .datalists import load_datalist, save_datalist, select
from .ddr import ddr_segmentation
from .errors import InputError
from .idrid import IDRID_VALIDATION_IDS, idrid_segmentation
from .lesions import CLASSES, LESION_CODES, LESIONS, OVERLAP_PRIORITY
from .masks import read_mask, read_masks
from .photos import PHOTO_SUFFIXES, find_photos, photo_ids, photo_size, read_photo
from .registry import LAYOUTS, Layout, read_layout

__all__ = [
    "CLASSES",
    "IDRID_VALIDATION_IDS",
    "LAYOUTS",
    "LESIONS",
    "LESION_CODES",
    "OVERLAP_PRIORITY",
    "PHOTO_SUFFIXES",
    "CheckReport",
    "CheckRow",
    "InputError",
    "Layout",
    "check_segmentation",
    "ddr_segmentation",
    "find_photos",
    "idrid_segmentation",
    "iter_check",
    "load_datalist",
    "photo_ids",
    "photo_size",
    "read_layout",
    "read_mask",
    "read_masks",
    "read_photo",
    "save_datalist",
    "select",
]
