"""Inference over photos that are much larger than what is looked for in them."""

from tinylesions.inferers.fold_inferer import FoldInferer
from tinylesions.inferers.grad_cam import GradCamMaps
from tinylesions.inferers.precision import PRECISIONS, resolve_precision
from tinylesions.inferers.sliding_window import ForegroundSlidingWindowInferer
from tinylesions.inferers.whole_image import WholeImageInferer
from tinylesions.inferers.window_plan import WindowPlan

__all__ = [
    "PRECISIONS",
    "FoldInferer",
    "ForegroundSlidingWindowInferer",
    "GradCamMaps",
    "WholeImageInferer",
    "WindowPlan",
    "resolve_precision",
]
