"""The lesions and the classes of fundus photos, in the one order that datasets, configs and writers share."""

from __future__ import annotations

__all__ = ["CLASSES", "LESIONS", "LESION_CODES", "OVERLAP_PRIORITY"]

LESIONS = ("microaneurysm", "haemorrhage", "hard_exudate", "soft_exudate")
"""The four lesions, in the channel order of every `label` tensor and every table."""

LESION_CODES = {"microaneurysm": "MA", "haemorrhage": "HE", "hard_exudate": "EX", "soft_exudate": "SE"}
"""The field's two-letter codes, as in the file names of IDRiD and the folder names of DDR."""

CLASSES = ("other", *LESIONS, "black_background")
"""The softmax classes: index 0 is the retina without lesions, the last is what lies outside the field of view."""

OVERLAP_PRIORITY = ("microaneurysm", "soft_exudate", "haemorrhage", "hard_exudate")
"""Where masks overlap, the label map keeps the lesion that stands first here: the rarer one wins."""
