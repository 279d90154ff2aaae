"""Reads the outlines of nuclei from MoNuSAC's XML, the format of Aperio's ImageScope, and fills them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser, parse

import numpy as np
from skimage.draw import polygon

from .errors import InputError

__all__ = ["AMBIGUOUS", "draw_nuclei"]

AMBIGUOUS = "ambiguous"
"""What MoNuSAC's test set calls nuclei too faint to name; they are left in the background."""
FARTHEST = 1e6


class _PlainTreeBuilder(TreeBuilder):
    """Takes no document type: it could define entities that swell to gigabytes."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ParseError(f"it has the document type {name}")


def draw_nuclei(path: Path | str, class_names: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """Fill the outlines of an XML file.

    A pixel belongs to the outline that its centre lies in; where outlines overlap, the later one in the file wins. What
    lies outside the tile is cut off. An outline of one or two points, a slip of the hand, holds no pixel and is left
    out, and so is one that is `AMBIGUOUS`, unless that is one of the classes.

    Args:
        path: the file: Annotations/Annotation, each with its class at Attributes/Attribute[@Name], whatever its case,
            and outlines at Regions/Region/Vertices/Vertex[@X, @Y] in pixels.
        class_names: the K classes, the background first.
        size: (height, width) of the tile.

    Returns:
        int32 array (H, W, 2): the nucleus, numbered from 1 in the file's order, and its class; both 0 in the
        background. A nucleus that later ones cover has no pixel.

    Raises:
        InputError: the file is missing, no such XML, or names a class that is not among `class_names`.
    """
    numbers = {name.casefold(): number for number, name in enumerate(class_names) if number > 0}
    nuclei = np.zeros((*size, 2), np.int32)
    count = 0
    for annotation in _read(path).iter("Annotation"):
        regions = annotation.findall("Regions/Region")
        if not regions:
            continue
        attribute = annotation.find("Attributes/Attribute")
        name = "" if attribute is None else attribute.get("Name", "").strip()
        number = numbers.get(name.casefold())
        if number is None:
            if name.casefold() == AMBIGUOUS:
                continue
            raise InputError(
                f"{path}: an annotation has the class {name!r}, which is none of {', '.join(class_names[1:])};"
                " give the class_names of this data set"
            )
        for outline in (_outline(region, path) for region in regions):
            if outline.shape[1] < 3:
                continue
            count += 1
            nuclei[polygon(outline[0], outline[1], size)] = count, number
    return nuclei


def _read(path: Path | str) -> Element:
    try:
        root = parse(path, XMLParser(target=_PlainTreeBuilder())).getroot()
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file of outlines; check the path") from error
    except OSError as error:
        raise InputError(f"{path}: the outlines cannot be read ({error.strerror}); check the permissions") from error
    except (ParseError, ValueError, LookupError) as error:  # the latter two: an unknown or broken encoding
        raise InputError(f"{path}: this is no plain XML ({error}); copy or download it again") from error
    if root is None or root.tag != "Annotations":
        raise InputError(f"{path}: this XML holds no Annotations as ImageScope writes them; put MoNuSAC's file there")
    return root


def _outline(region: Element, path: Path | str) -> np.ndarray:
    """Return the points of an outline as an array (2, points) of rows and columns."""
    vertices = region.findall("Vertices/Vertex")
    return np.array([[_number(vertex.get(axis), path) for vertex in vertices] for axis in ("Y", "X")])


def _number(text: str | None, path: Path | str) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not abs(number) <= FARTHEST:  # NaN, too
        raise InputError(f"{path}: a Vertex has the coordinate {text!r}, which is no pixel; correct or remove it")
    return number
