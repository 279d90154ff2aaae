"""The lesions of fundus photos and of OCTA images, in the one order that datasets, configs and writers share."""

from __future__ import annotations

from .errors import InputError

__all__ = [
    "ALL_LESIONS",
    "CLASSES",
    "LESIONS",
    "LESION_CODES",
    "OCTA_LESIONS",
    "OCTA_LESION_CODES",
    "OVERLAP_PRIORITY",
    "find_octa_lesion",
]

LESIONS = ("microaneurysm", "haemorrhage", "hard_exudate", "soft_exudate")
"""The four lesions of a fundus photo, in the channel order of every `label` tensor and every table."""

LESION_CODES = {"microaneurysm": "MA", "haemorrhage": "HE", "hard_exudate": "EX", "soft_exudate": "SE"}
"""The field's two-letter codes, as in the file names of IDRiD and the folder names of DDR."""

OCTA_LESIONS = ("intraretinal_microvascular_abnormality", "nonperfusion_area", "neovascularisation")
"""The three lesions of an OCTA image, in the order of DRAC2022, likewise."""

OCTA_LESION_CODES = {
    "intraretinal_microvascular_abnormality": "IRMA",
    "nonperfusion_area": "NPA",
    "neovascularisation": "NV",
}
"""The field's codes of the lesions of an OCTA image."""

ALL_LESIONS = (*LESIONS, *OCTA_LESIONS)
"""Every known name that a datalist's `label` may hold, of one family only; a folder of one's own may add others."""

CLASSES = ("other", *LESIONS, "black_background")
"""The softmax classes: index 0 is the retina without lesions, the last is what lies outside the field of view."""

OVERLAP_PRIORITY = ("microaneurysm", "soft_exudate", "haemorrhage", "hard_exudate")
"""Where masks overlap, the label map keeps the lesion that stands first here: the rarer one wins."""


def find_octa_lesion(code: str) -> str:
    """Return the name of an OCTA lesion by its code, e.g. ``IRMA``.

    Raises:
        InputError: there is no lesion of that code.
    """
    names = {code: name for name, code in OCTA_LESION_CODES.items()}
    if code not in names:
        raise InputError(f"there is no lesion {code!r} in OCTA images: choose one of {', '.join(names)}.")
    return names[code]
