"""Readers of photos, masks, grades and official data set layouts, and the check of what they hold."""

from .check import CheckReport, CheckRow, check_datalist, iter_check
from .class_frequencies import class_frequencies
from .conic import conic
from .cross_validation import cross_validation_split, deal_folds, hold_out_fold
from .datalists import load_datalist, save_datalist, select
from .ddr import ddr_segmentation
from .drac import drac_segmentation, images_with, images_with_truth
from .errors import InputError
from .file_hash import file_sha256
from .graded_ddr import ddr_grading
from .graded_eyepacs import eyepacs
from .graded_idrid import idrid_grading
from .grades import GRADES, REFERABLE_GRADE
from .idrid import IDRID_VALIDATION_IDS, idrid_segmentation
from .lesions import (
    ALL_LESIONS,
    CLASSES,
    LESION_CODES,
    LESIONS,
    OCTA_LESION_CODES,
    OCTA_LESIONS,
    OVERLAP_PRIORITY,
    find_octa_lesion,
)
from .masks import lesions_of, read_mask, read_masks, write_mask
from .monusac import monusac
from .nuclei import (
    BINARY_CLASSES,
    CONIC_CLASSES,
    MODELS,
    MONUSAC_CLASSES,
    RESULTS,
    checked_class_names,
    nuclei_models,
)
from .nuclei_labels import read_nuclei, read_tile
from .photo_folder import photo_folder
from .photos import PHOTO_SUFFIXES, find_photos, photo_ids, photo_size, read_photo
from .pseudo_labels import (
    check_pseudo_root,
    read_pseudo_grades,
    read_pseudo_masks,
    write_labelled_datalists,
    write_pseudo_grades,
    write_pseudo_masks,
)
from .rarity import lesion_rarity, rarity_weights
from .registry import LAYOUTS, Layout, layout_classes, read_layout
from .splits import multilabel_split, stratified_split
from .stored_thresholds import store_thresholds
from .tasks import TASKS, labels_digest, scored_tasks, task_items
from .tile_sets import read_tiles, select_tiles
from .training_record import load_training_record, record_training
from .twins import Twins, find_twins, leaving_out_twins, sharing_labels

__all__ = [
    "ALL_LESIONS",
    "BINARY_CLASSES",
    "CLASSES",
    "CONIC_CLASSES",
    "GRADES",
    "IDRID_VALIDATION_IDS",
    "LAYOUTS",
    "LESIONS",
    "LESION_CODES",
    "MODELS",
    "MONUSAC_CLASSES",
    "OCTA_LESIONS",
    "OCTA_LESION_CODES",
    "OVERLAP_PRIORITY",
    "PHOTO_SUFFIXES",
    "REFERABLE_GRADE",
    "RESULTS",
    "TASKS",
    "CheckReport",
    "CheckRow",
    "InputError",
    "Layout",
    "Twins",
    "check_datalist",
    "check_pseudo_root",
    "checked_class_names",
    "class_frequencies",
    "conic",
    "cross_validation_split",
    "ddr_grading",
    "ddr_segmentation",
    "deal_folds",
    "drac_segmentation",
    "eyepacs",
    "file_sha256",
    "find_octa_lesion",
    "find_photos",
    "find_twins",
    "hold_out_fold",
    "idrid_grading",
    "idrid_segmentation",
    "images_with",
    "images_with_truth",
    "iter_check",
    "labels_digest",
    "layout_classes",
    "leaving_out_twins",
    "lesion_rarity",
    "lesions_of",
    "load_datalist",
    "load_training_record",
    "monusac",
    "multilabel_split",
    "nuclei_models",
    "photo_folder",
    "photo_ids",
    "photo_size",
    "rarity_weights",
    "read_layout",
    "read_mask",
    "read_masks",
    "read_nuclei",
    "read_photo",
    "read_pseudo_grades",
    "read_pseudo_masks",
    "read_tile",
    "read_tiles",
    "record_training",
    "save_datalist",
    "scored_tasks",
    "select",
    "select_tiles",
    "sharing_labels",
    "store_thresholds",
    "stratified_split",
    "task_items",
    "write_labelled_datalists",
    "write_mask",
    "write_pseudo_grades",
    "write_pseudo_masks",
]
