"""Transforms on photos, masks and predictions, in MONAI's dictionary style."""

from __future__ import annotations

from tinylesions.transforms.background import SubtractBackgroundd, subtract_background
from tinylesions.transforms.background_reuse import (
    NucleiClassMapsd,
    NucleiProbabilitiesd,
    nuclei_results,
    reuse_background,
)
from tinylesions.transforms.cached_windows import CachedWindowLoader
from tinylesions.transforms.drac_submission import check_drac_images, write_drac_submission
from tinylesions.transforms.field_of_view import (
    FieldOfViewCropd,
    FieldOfViewMaskd,
    bounding_box,
    field_of_view_mask,
    otsu_box,
)
from tinylesions.transforms.grade_photo import GradePhotod
from tinylesions.transforms.jpeg import RandJPEGd
from tinylesions.transforms.label_map import LesionMasksToLabelMapd, lesion_masks_to_label_map
from tinylesions.transforms.lesion_colours import PALETTE, lesion_colours
from tinylesions.transforms.lesion_crops import RandLesionCropsd
from tinylesions.transforms.lesion_indices import LesionIndicesd
from tinylesions.transforms.lesion_table import collect_tables, lesion_components, photo_summary
from tinylesions.transforms.load import LoadLesionMasksd, LoadPhotod
from tinylesions.transforms.load_nuclei import LoadNucleid, LoadTiled
from tinylesions.transforms.nuclei_colours import NUCLEI_COLOURS, nuclei_colours
from tinylesions.transforms.nuclei_instances import NucleiInstancesd, nuclei_instances
from tinylesions.transforms.nuclei_overlay import draw_nuclei
from tinylesions.transforms.nuclei_table import nuclei_table
from tinylesions.transforms.overlay import draw_overlay
from tinylesions.transforms.patches import SlidingWindowPatchesd, lesion_windows, window_origins
from tinylesions.transforms.photo_variants import VARIANTS, PhotoVariantsDataset, photo_variant
from tinylesions.transforms.predicted_lesion_masks import PredictedLesionsd, SavePseudoMasksd
from tinylesions.transforms.probabilities import SoftmaxHeadsd
from tinylesions.transforms.resize import ResizeLongestSided, ResizeToSized
from tinylesions.transforms.save_grad_cams import SaveGradCamsd
from tinylesions.transforms.save_lesions import SaveLesionsd
from tinylesions.transforms.save_nuclei import SaveNucleid
from tinylesions.transforms.save_side_outputs import SaveSideOutputsd
from tinylesions.transforms.window_cache import WindowCache
from tinylesions.transforms.window_sampling import WindowSampler, WindowSampling

__all__ = [
    "NUCLEI_COLOURS",
    "PALETTE",
    "VARIANTS",
    "CachedWindowLoader",
    "FieldOfViewCropd",
    "FieldOfViewMaskd",
    "GradePhotod",
    "LesionIndicesd",
    "LesionMasksToLabelMapd",
    "LoadLesionMasksd",
    "LoadNucleid",
    "LoadPhotod",
    "LoadTiled",
    "NucleiClassMapsd",
    "NucleiInstancesd",
    "NucleiProbabilitiesd",
    "PhotoVariantsDataset",
    "PredictedLesionsd",
    "RandJPEGd",
    "RandLesionCropsd",
    "ResizeLongestSided",
    "ResizeToSized",
    "SaveGradCamsd",
    "SaveLesionsd",
    "SaveNucleid",
    "SavePseudoMasksd",
    "SaveSideOutputsd",
    "SlidingWindowPatchesd",
    "SoftmaxHeadsd",
    "SubtractBackgroundd",
    "WindowCache",
    "WindowSampler",
    "WindowSampling",
    "bounding_box",
    "check_drac_images",
    "collect_tables",
    "draw_nuclei",
    "draw_overlay",
    "field_of_view_mask",
    "lesion_colours",
    "lesion_components",
    "lesion_masks_to_label_map",
    "lesion_windows",
    "nuclei_colours",
    "nuclei_instances",
    "nuclei_results",
    "nuclei_table",
    "otsu_box",
    "photo_summary",
    "photo_variant",
    "reuse_background",
    "subtract_background",
    "window_origins",
    "write_drac_submission",
]
