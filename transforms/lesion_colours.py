"""The colour of each lesion in pictures."""

from __future__ import annotations

from collections.abc import Collection

from tinylesions.datasets.lesions import ALL_LESIONS, LESIONS

__all__ = ["PALETTE", "lesion_colours"]

PALETTE = {
    "microaneurysm": (240, 228, 66),
    "haemorrhage": (86, 180, 233),
    "hard_exudate": (0, 60, 255),
    "soft_exudate": (255, 255, 255),
    "intraretinal_microvascular_abnormality": (240, 228, 66),
    "nonperfusion_area": (86, 180, 233),
    "neovascularisation": (213, 94, 0),
}
"""Colour of each lesion, RGB 0 to 255. Yellow, sky blue and vermilion are of Okabe and Ito's colour-blind-safe set; its
blue and green are too dim on an orange retina, hence a pure blue and white. The colours of one picture also differ in
lightness."""

_FURTHER = ((60, 255, 180), (90, 30, 120), (255, 60, 165), (135, 210, 120), (75, 120, 255), (165, 60, 150))
"""For lesions of other names. The rest of Okabe and Ito's set is too near to the retina's orange or to the colours
above; these keep a CIEDE2000 difference of 10 from each other, a fundus photo's four colours, retina and legend, also
for eyes that lack one kind of cones."""


def lesion_colours(lesions: Collection[str]) -> dict[str, tuple[int, int, int]]:
    """Give each lesion of a picture its colour, in the order in which a legend names them.

    Those that :data:`PALETTE` knows have theirs and stand first, in the order of ``ALL_LESIONS``. Others follow in the
    alphabet's order, so that the same lesions always get the same colours: first the further ones, then what a fundus
    photo's own lesions leave free. Ten lesions can be told apart; after that colours repeat.

    Args:
        lesions: their names, in any order.

    Example:
        >>> list(lesion_colours(["laser_scar", "drusen", "haemorrhage"]))
        ['haemorrhage', 'drusen', 'laser_scar']
    """
    known = {lesion: PALETTE[lesion] for lesion in ALL_LESIONS if lesion in lesions}
    free = [*_FURTHER, *(PALETTE[lesion] for lesion in LESIONS if PALETTE[lesion] not in known.values())]
    others = sorted(set(lesions) - set(known))
    return known | {lesion: free[number % len(free)] for number, lesion in enumerate(others)}
