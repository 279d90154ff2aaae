"""Write histology phantoms in MoNuSAC's official folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from skimage.measure import approximate_polygon, find_contours, regionprops

from tinylesions.datasets.monusac import TESTING, TRAINING
from tinylesions.datasets.nuclei import MONUSAC_CLASSES
from tinylesions.datasets.phantoms.histology import TILE_SIZE
from tinylesions.datasets.phantoms.histology_sources import draw_sources

__all__ = ["nuclei_xml", "write_monusac"]

FIRST_TESTING = 5001  # numbers of patients, so that a name tells the split


def write_monusac(
    root: str | Path,
    training: int,
    test: int,
    *,
    size: tuple[int, int] = TILE_SIZE,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> Path:
    """Write a folder of tiles for each patient: RGB pictures ``<patient>_1.tif`` and polygons ``<patient>_1.xml``.

    The official set has its pictures as Aperio's ``.svs``, too; they are not written. Patients are named like those of
    The Cancer Genome Atlas: ``PHANTOM-00-0001-01Z-00-DX1``. The reader takes validation tiles from the training folder.

    Args:
        root: folder that gets the official training and testing folders; made if missing.
        training: number of tiles for training and validation.
        test: number of tiles for testing; without one there is no testing folder.
        size: (height, width) of the tiles in pixels, (64, 64) at least.
        seed: the same seed, numbers and size give the same files.
        progress: called after each tile.

    Returns:
        ``root``.

    Raises:
        ValueError: a size that is too small.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tiles = write_monusac(folder, 1, 0, size=(64, 64)).glob("*/*/*")
        ...     sorted(tile.name for tile in tiles)
        ['PHANTOM-00-0001-01Z-00-DX1_1.tif', 'PHANTOM-00-0001-01Z-00-DX1_1.xml']
    """
    for split, count, first in ((TRAINING, training, 1), (TESTING, test, FIRST_TESTING)):
        for source, index, image, labels in draw_sources(seed, f"monusac {split}", count, size, "monusac"):
            patient = f"PHANTOM-00-{first + source:04d}-01Z-00-DX1"
            folder = Path(root) / split / patient
            folder.mkdir(parents=True, exist_ok=True)
            tile = f"{patient}_{index + 1}"
            Image.fromarray(image).save(folder / f"{tile}.tif", compression="tiff_lzw")
            nuclei_xml(labels).write(folder / f"{tile}.xml", encoding="utf-8", xml_declaration=True)
            if progress is not None:
                progress()
    return Path(root)


def nuclei_xml(labels: np.ndarray) -> ElementTree.ElementTree:
    """Return the nuclei of a tile as Aperio's XML: an annotation for each class, a region for each nucleus.

    A polygon runs between the pixels inside and those outside, in pixels, x to the right and y down from the middle of
    the first pixel: the pixels whose middle lies in it are just those of the nucleus.

    Args:
        labels: int (height, width, 2): number of the nucleus, each one 4-connected piece without holes; its class.
    """
    root = ElementTree.Element("Annotations", MicronsPerPixel="0.25")
    nuclei = regionprops(labels[..., 0])
    for number, name in enumerate(MONUSAC_CLASSES):
        own = [nucleus for nucleus in nuclei if labels[tuple(nucleus.coords[0])][1] == number]
        if not own:
            continue
        annotation = ElementTree.SubElement(root, "Annotation", Id=str(number), Name="", Visible="1", Type="4")
        attributes = ElementTree.SubElement(annotation, "Attributes")
        ElementTree.SubElement(attributes, "Attribute", Name=name.capitalize(), Id="0", Value="")
        regions = ElementTree.SubElement(annotation, "Regions")
        ElementTree.SubElement(regions, "RegionAttributeHeaders")
        for place, nucleus in enumerate(own, 1):
            region = ElementTree.SubElement(
                regions,
                "Region",
                Id=str(place),
                Type="0",
                Area=f"{nucleus.area:.0f}",
                Length=f"{nucleus.perimeter:.1f}",
            )
            vertices = ElementTree.SubElement(region, "Vertices")
            for y, x in _outline(nucleus.image) + nucleus.bbox[:2]:
                ElementTree.SubElement(vertices, "Vertex", X=f"{x:g}", Y=f"{y:g}", Z="0")
        ElementTree.SubElement(annotation, "Plots")
    tree = ElementTree.ElementTree(root)
    ElementTree.indent(tree)
    return tree


def _outline(mask: np.ndarray) -> np.ndarray:
    """Vertices (n, 2), y first, of the polygon around a piece; straight edges have no vertices between their ends."""
    contour = max(find_contours(np.pad(mask, 1).astype(float), 0.5), key=len) - 1
    return approximate_polygon(contour, 0.01)[:-1]  # the last vertex is the first
