"""Tiny folders in the official layouts, for the tests of their readers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (12, 16)
DRAC_LESIONS = {
    "IRMA": "1. Intraretinal Microvascular Abnormalities",
    "NPA": "2. Nonperfusion Areas",
    "NV": "3. Neovascularization",
}
IDRID_LESIONS = {
    "MA": "1. Microaneurysms",
    "HE": "2. Haemorrhages",
    "EX": "3. Hard Exudates",
    "SE": "4. Soft Exudates",
    "OD": "5. Optic Disc",
}


def square(side: int) -> np.ndarray:
    """A lesion of side² pixels."""
    mask = np.zeros(SIZE, np.uint8)
    mask[1 : 1 + side, 2 : 2 + side] = 1
    return mask


def write_photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(path)
    return path


def write_grey_photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(SIZE, 90, np.uint8)).save(path)
    return path


def write_palette_mask(path: Path, mask: np.ndarray) -> Path:
    """A mask as IDRiD ships them: palette TIFF of {0, 1}, red on black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(path, compression="tiff_adobe_deflate")
    return path


def write_grey_mask(path: Path, mask: np.ndarray) -> Path:
    """A mask as DDR ships them: 8-bit TIFF of {0, 255}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask * 255).astype(np.uint8)).save(path)
    return path


def write_idrid(root: Path, training: Iterable[int], testing: Iterable[int] = ()) -> Path:
    """Every photo has MA, HE and OD; photos of even number have EX, those divisible by three SE."""
    for numbers, folder in ((training, "a. Training Set"), (testing, "b. Testing Set")):
        masks = root / "A. Segmentation/2. All Segmentation Groundtruths" / folder
        for number in numbers:
            name = f"IDRiD_{number:02}"
            write_photo(root / "A. Segmentation/1. Original Images" / folder / f"{name}.jpg")
            for lesion in IDRID_LESIONS.values():
                (masks / lesion).mkdir(parents=True, exist_ok=True)
            present = ["MA", "HE", "OD", *["EX"] * (number % 2 == 0), *["SE"] * (number % 3 == 0)]
            for side, code in enumerate(present, start=1):
                write_palette_mask(masks / IDRID_LESIONS[code] / f"{name}_{code}.tif", square(side))
    return root


def write_ddr(root: Path, counts: Mapping[str, int]) -> Path:
    """Every photo has a file for each lesion; SE is black."""
    for folder, count in counts.items():
        base = root / "lesion_segmentation" / folder
        for number in range(count):
            name = f"007-{len(folder):04}-{number:03}"
            write_photo(base / "image" / f"{name}.jpg")
            labels = base / ("segmentation label" if folder == "valid" else "label")
            for side, code in enumerate(("MA", "HE", "EX"), start=1):
                write_grey_mask(labels / code / f"{name}.tif", square(side))
            write_grey_mask(labels / "SE" / f"{name}.tif", square(0))
    return root


def write_drac(root: Path, training: Mapping[int, Collection[str]], testing: Iterable[int] = ()) -> Path:
    """Number -> codes of the lesions that the image holds; a test set without images is left out."""
    images, masks = (root / "A. Segmentation" / folder for folder in ("1. Original Images", "2. Groundtruths"))
    for folder in DRAC_LESIONS.values():
        (masks / "a. Training Set" / folder).mkdir(parents=True, exist_ok=True)
    for number, codes in training.items():
        write_grey_photo(images / "a. Training Set" / f"{number}.png")
        for side, (code, folder) in enumerate(DRAC_LESIONS.items(), start=1):
            if code in codes:
                write_grey_mask(masks / "a. Training Set" / folder / f"{number}.png", square(side))
    for number in testing:
        write_grey_photo(images / "b. Testing Set" / f"{number}.png")
    return root


def write_idrid_grading(root: Path, training: Mapping[int, int], testing: Mapping[int, int]) -> Path:
    """Number -> grade; the training table has the nine empty columns of the official one, and both its line ends."""
    base = root / "B. Disease Grading"
    for grades, folder, table, tail in (
        (training, "a. Training Set", "a. IDRiD_Disease Grading_Training Labels.csv", "," * 9),
        (testing, "b. Testing Set", "b. IDRiD_Disease Grading_Testing Labels.csv", ""),
    ):
        rows = [f"Image name,Retinopathy grade,Risk of macular edema{tail}"]
        for number, grade in grades.items():
            write_photo(base / "1. Original Images" / folder / f"IDRiD_{number:03}.jpg")
            rows.append(f"IDRiD_{number:03},{grade},0{tail}")
        (base / "2. Groundtruths").mkdir(exist_ok=True)
        (base / "2. Groundtruths" / table).write_bytes(("\r\n".join(rows) + "\r\n").encode())
    return root


def write_ddr_grading(root: Path, grades: Mapping[str, Iterable[int]]) -> Path:
    """Folder -> grades of its photos."""
    for folder, of_photos in grades.items():
        lines = []
        for number, grade in enumerate(of_photos):
            name = f"007-{len(folder):04}-{number:03}.jpg"
            write_photo(root / "DR_grading" / folder / name)
            lines.append(f"{name} {grade}\n")
        (root / "DR_grading" / f"{folder}.txt").write_text("".join(lines))
    return root


def write_eyepacs(root: Path, train: Mapping[str, int], test: Mapping[str, int]) -> Path:
    """Name of an eye -> grade; a set without eyes is left out."""
    for grades, folder, table, header, tail in (
        (train, "train", "trainLabels.csv", "image,level", ""),
        (test, "test", "retinopathy_solution.csv", "image,level,Usage", ",Public"),
    ):
        for name in grades:
            write_photo(root / folder / f"{name}.jpeg")
        if grades:
            rows = [header, *(f"{name},{grade}{tail}" for name, grade in grades.items())]
            (root / table).write_text("\n".join(rows) + "\n")
    return root


def write_conic(root: Path, names: Iterable[str] | int, labels: np.ndarray | None = None) -> Path:
    """Grey patches of `SIZE` with these names, or that many without, each with a nucleus of class 1 + number mod 6."""
    count = names if isinstance(names, int) else len(list(names))
    root.mkdir(parents=True, exist_ok=True)
    images = np.full((count, *SIZE, 3), 90, np.uint8)
    images[:, 0, 0] = np.arange(count)[:, None]  # tells the patches apart
    if labels is None:
        labels = np.zeros((count, *SIZE, 2), np.int16)
        for number in range(count):
            labels[number, 2:5, 3:7] = 1 + number, 1 + number % 6
    np.save(root / "images.npy", images)
    np.save(root / "labels.npy", labels)
    if not isinstance(names, int):
        (root / "patch_info.csv").write_text("\n".join(["patch_info", *names, ""]))
    return root


def outlines(*annotations: tuple[str, Iterable[Iterable[tuple[float, float]]]]) -> str:
    """ImageScope's XML of (class, polygons of (x, y)), with the attributes and regions' parts it writes besides."""
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<Annotations MicronsPerPixel="0.25">\n'
    for number, (name, polygons) in enumerate(annotations, start=1):
        text += (
            f'<Annotation Id="{number}"><Attributes><Attribute Name="{name}" Id="0" Value=""/></Attributes><Regions>'
        )
        text += '<RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region"/></RegionAttributeHeaders>'
        for points in polygons:
            vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
            text += f'<Region Id="1"><Attributes/><Vertices>{vertices}</Vertices></Region>'
        text += "</Regions><Plots/></Annotation>\n"
    return text + "</Annotations>\n"


def write_monusac(root: Path, patients: Mapping[str, int], folder: str = "MoNuSAC_images_and_annotations") -> Path:
    """So many grey tiles for each patient, each with one epithelial nucleus."""
    for patient, count in patients.items():
        for number in range(1, count + 1):
            tile = write_photo(root / folder / patient / f"{patient}_{number}.tif")
            square_ = [(2, 1), (6, 1), (6, 5), (2, 5)]
            tile.with_suffix(".xml").write_text(outlines(("Epithelial", [square_])), encoding="utf-8")
    return root
