from __future__ import annotations

import csv
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon

from tinylesions.datasets.conic import conic
from tinylesions.datasets.monusac import monusac
from tinylesions.datasets.nuclei import MONUSAC_CLASSES
from tinylesions.datasets.nuclei_outlines import draw_nuclei
from tinylesions.datasets.phantoms import draw_tile, write_conic, write_monusac
from tinylesions.datasets.phantoms.histology_sources import draw_sources
from tinylesions.datasets.phantoms.monusac import nuclei_xml

SIZE = (96, 128)


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_conic_layout(tmp_path: Path) -> None:
    calls: list[int] = []
    root = write_conic(tmp_path / "conic", 12, 3, 3, size=SIZE, progress=lambda: calls.append(1))
    assert root == tmp_path / "conic"
    assert len(calls) == 18
    assert sorted(contents(root)) == ["counts.csv", "images.npy", "labels.npy", "patch_info.csv"]
    images, labels = np.load(root / "images.npy"), np.load(root / "labels.npy")
    assert (images.shape, images.dtype) == ((18, *SIZE, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((18, *SIZE, 2), np.int32)
    names = [f"phantom_{source}-{index:04d}" for source in range(1, 6) for index in range(4)][:18]
    assert table(root / "patch_info.csv") == [["patch_info"], *([name] for name in names)]
    header, *counts = table(root / "counts.csv")
    assert header == ["neutrophil", "epithelial", "lymphocyte", "plasma", "eosinophil", "connective"]
    for label, row in zip(labels, counts, strict=True):
        nuclei = {(number, kind) for number, kind in label.reshape(-1, 2).tolist() if number}
        assert row == [str(sum(kind == wanted for _, kind in nuclei)) for wanted in range(1, 7)]
    assert np.array_equal(labels[..., 1] > 0, labels[..., 0] > 0)


def test_conic_patches_are_those_drawn(tmp_path: Path) -> None:
    root = write_conic(tmp_path, 3, 1, 1, size=SIZE, seed=7)
    images, labels = np.load(root / "images.npy"), np.load(root / "labels.npy")
    for place, (_, _, image, label) in enumerate(draw_sources(7, "conic", 5, SIZE, "conic")):
        assert np.array_equal(images[place], image)
        assert np.array_equal(labels[place], label)


def test_the_reader_splits_small_conic_sets_by_source(tmp_path: Path) -> None:
    for count in ((16, 4, 4), (2, 1, 1)):
        root = write_conic(tmp_path / str(count), *count, size=(64, 64))
        items = conic(root)
        assert len(items) == sum(count)
        splits = {split: {item["source"] for item in items if item["split"] == split} for split in ("training", "test")}
        assert all(splits.values())
        assert not splits["training"] & splits["test"]


def test_monusac_layout(tmp_path: Path) -> None:
    calls: list[int] = []
    root = write_monusac(tmp_path, 8, 2, size=SIZE, progress=lambda: calls.append(1))
    assert len(calls) == 10
    assert sorted(path.name for path in root.iterdir()) == [
        "MoNuSAC Testing Data and Annotations",
        "MoNuSAC_images_and_annotations",
    ]
    tiles = sorted(root.rglob("*.tif"))
    assert len(tiles) == 10
    seen: set[str | None] = set()
    for tile in tiles:
        assert tile.stem.rsplit("_", 1)[0] == tile.parent.name
        with Image.open(tile) as picture:
            assert (picture.format, picture.mode, picture.size) == ("TIFF", "RGB", SIZE[::-1])
        names = [attribute.get("Name") for attribute in ElementTree.parse(tile.with_suffix(".xml")).iter("Attribute")]
        assert len(set(names)) == len(names)
        seen.update(names)
    assert seen == {"Epithelial", "Lymphocyte", "Macrophage", "Neutrophil"}
    assert sorted(contents(root)) == sorted(
        f"{tile.relative_to(root).with_suffix(suffix).as_posix()}" for tile in tiles for suffix in (".tif", ".xml")
    )


def test_the_reader_splits_small_monusac_sets_by_patient(tmp_path: Path) -> None:
    items = monusac(write_monusac(tmp_path, 20, 4, size=(64, 64)))
    patients = {split: {item["source"] for item in items if item["split"] == split} for split in ("training", "test")}
    assert len(patients["training"]) >= 3
    assert len(patients["test"]) == 4
    assert any(item["split"] == "validation" for item in items)
    assert not patients["training"] & patients["test"]


def rasterise(file: Path, size: tuple[int, int]) -> list[tuple[str, np.ndarray]]:
    regions = []
    for annotation in ElementTree.parse(file).getroot():
        name = annotation.find("Attributes/Attribute").get("Name").lower()  # type: ignore[union-attr]
        for region in annotation.findall("Regions/Region"):
            corners = [(float(vertex.get("Y")), float(vertex.get("X"))) for vertex in region.find("Vertices")]  # type: ignore[arg-type, union-attr]
            mask = np.zeros(size, bool)
            mask[polygon(*np.transpose(corners), size)] = True
            regions.append((name, mask))
    return regions


def test_polygons_are_the_nuclei(tmp_path: Path) -> None:
    root = write_monusac(tmp_path, 4, 0, size=(160, 160), seed=3)
    drawn = list(draw_sources(3, "monusac MoNuSAC_images_and_annotations", 4, (160, 160), "monusac"))
    for tile, (_, _, image, labels) in zip(sorted(root.rglob("*.tif")), drawn, strict=True):
        with Image.open(tile) as picture:
            assert np.array_equal(np.asarray(picture), image)
        regions = rasterise(tile.with_suffix(".xml"), (160, 160))
        assert len(regions) == labels[..., 0].max()
        for name, mask in regions:
            (number,) = np.unique(labels[..., 0][mask])  # a polygon holds no pixel of another nucleus
            nucleus = labels[..., 0] == number
            assert (mask & nucleus).sum() / (mask | nucleus).sum() == 1
            assert {MONUSAC_CLASSES[value] for value in np.unique(labels[nucleus][:, 1])} == {name}


def test_polygons_of_pixels_read_back_by_the_reader(tmp_path: Path) -> None:
    for seed in range(6):
        _, labels = draw_tile(np.random.default_rng(seed), (200, 150), "monusac")
        nuclei_xml(labels).write(tmp_path / "tile.xml", encoding="utf-8")
        read = draw_nuclei(tmp_path / "tile.xml", MONUSAC_CLASSES, (200, 150))
        assert np.array_equal(read[..., 1], labels[..., 1])
        pairs = {(a, b) for a, b in zip(read[..., 0].ravel().tolist(), labels[..., 0].ravel().tolist(), strict=True)}
        assert len(pairs) == labels[..., 0].max() + 1  # the numbers differ, the nuclei do not


def test_outline_of_a_hand_made_nucleus() -> None:
    labels = np.zeros((8, 8, 2), np.int32)
    labels[2:5, 3:5] = 1, 2
    (region,) = nuclei_xml(labels).getroot().iter("Region")
    assert region.get("Area") == "6"
    corners = {(float(vertex.get("X", "nan")), float(vertex.get("Y", "nan"))) for vertex in region.iter("Vertex")}
    # An octagon between the pixels, its corners cut.
    assert corners == {(3, 1.5), (4, 1.5), (4.5, 2), (4.5, 4), (4, 4.5), (3, 4.5), (2.5, 4), (2.5, 2)}


@pytest.mark.parametrize("writer", [write_conic, write_monusac])
def test_same_seed_gives_the_same_files(tmp_path: Path, writer) -> None:
    counts = (2, 1, 1) if writer is write_conic else (3, 1)
    first, again, other = (
        contents(writer(tmp_path / name, *counts, size=(64, 64), seed=seed))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again
    assert first.keys() == other.keys()
    assert first != other


def test_wrong_numbers_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one at least"):
        write_conic(tmp_path / "none", 0, 0, 0)
    for size in ((63, 64), (-1, 64)):
        with pytest.raises(ValueError, match="at least"):
            write_conic(tmp_path / "small", 1, 0, 0, size=size)
        with pytest.raises(ValueError, match="at least"):
            write_monusac(tmp_path / "small", 1, 0, size=size)
    assert list(tmp_path.iterdir()) == []
