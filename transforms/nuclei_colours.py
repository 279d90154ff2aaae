"""A colour for every class of nuclei, the same in every picture."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence

__all__ = ["NUCLEI_COLOURS", "nuclei_colours"]

NUCLEI_COLOURS = {
    "epithelial": (240, 228, 66),
    "neutrophil": (255, 255, 255),
    "lymphocyte": (86, 200, 255),
    "plasma": (0, 60, 255),
    "eosinophil": (213, 84, 0),
    "connective": (0, 158, 115),
    "macrophage": (255, 110, 0),
    "inflammatory": (70, 150, 255),
    "spindle": (0, 170, 60),
    "other": (200, 200, 200),
}
"""Colour of the classes that data sets name, RGB 0 to 255: after Okabe and Ito's colour-blind-safe set, without its
purple and brighter where it is lost on haematoxylin and eosin. No pink or purple, which are the stain's own."""

Colour = tuple[int, int, int]


def nuclei_colours(class_names: Sequence[str]) -> list[Colour]:
    """Give each class its colour, the background black.

    Names of :data:`NUCLEI_COLOURS` have theirs; others take the colours that are left, then new ones.

    Args:
        class_names: the background first.

    Returns:
        RGB, 0 to 255, for each class, no two alike.

    Example:
        >>> nuclei_colours(["background", "epithelial", "mitosis"])
        [(0, 0, 0), (240, 228, 66), (255, 255, 255)]
    """
    taken = [NUCLEI_COLOURS[name] for name in class_names if name in NUCLEI_COLOURS]
    free = (colour for colour in _all_colours() if colour not in taken)
    return [(0, 0, 0), *(NUCLEI_COLOURS.get(name) or next(free) for name in class_names[1:])]


def _all_colours() -> Iterator[Colour]:
    """The named colours, then hues from orange to blue in ever finer steps, in three lightnesses."""
    yield from NUCLEI_COLOURS.values()
    seen = set(NUCLEI_COLOURS.values())
    golden = (5**0.5 - 1) / 2  # its multiples never crowd
    number = 0
    while True:
        number += 1
        hue = 0.03 + 0.62 * (number * golden % 1)
        red, green, blue = colorsys.hls_to_rgb(hue, (0.55, 0.75, 0.35)[number % 3], 1.0)
        colour = round(255 * red), round(255 * green), round(255 * blue)
        if colour not in seen:
            seen.add(colour)
            yield colour
