from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinylesions.datasets.drac import drac_segmentation
from tinylesions.datasets.lesions import OCTA_LESIONS
from tinylesions.datasets.phantoms import draw_octa, write_drac
from tinylesions.datasets.phantoms.drac import image_lesions, image_numbers
from tinylesions.datasets.phantoms.idrid import photo_seed

SIZE = (128, 144)
IMAGES = "A. Segmentation/1. Original Images"
TRUTHS = "A. Segmentation/2. Groundtruths/a. Training Set"
FOLDERS = ("1. Intraretinal Microvascular Abnormalities", "2. Nonperfusion Areas", "3. Neovascularization")


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.png"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    calls: list[int] = []
    root = tmp_path_factory.mktemp("drac") / "data"
    assert write_drac(str(root), 6, 2, size=SIZE, seed=5, progress=lambda: calls.append(1)) == root
    assert len(calls) == 8
    return root


def test_layout(written: Path) -> None:
    assert {path.suffix for path in written.rglob("*") if path.is_file()} == {".png"}
    folders = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_dir()}
    assert {folder for folder in folders if folder.count("/") >= 2} == {
        f"{IMAGES}/a. Training Set",
        f"{IMAGES}/b. Testing Set",
        TRUTHS,
        *(f"{TRUTHS}/{folder}" for folder in FOLDERS),
    }
    training, testing = (numbers(written / IMAGES / split) for split in ("a. Training Set", "b. Testing Set"))
    assert (len(training), len(testing)) == (6, 2)
    assert not set(training) & set(testing)
    for ids in (training, testing):
        assert sorted(map(str, ids)) != list(map(str, ids))  # numeric order is not that of the names
    held = [set(numbers(written / TRUTHS / folder)) for folder in FOLDERS]
    assert [len(ids) for ids in held] == [5, 5, 3]
    assert set.union(*held) == set(training)


def test_files_are_grey_and_hold_what_is_drawn(written: Path) -> None:
    for index, number in enumerate(numbers(written / IMAGES / "a. Training Set")):
        seed = photo_seed(5, "drac a. Training Set", index)
        phantom = draw_octa(SIZE, seed, image_lesions(index))
        with Image.open(written / IMAGES / "a. Training Set" / f"{number}.png") as image:
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), phantom.image)
        for lesion, folder in zip(OCTA_LESIONS, FOLDERS, strict=True):
            path = written / TRUTHS / folder / f"{number}.png"
            assert path.exists() == (lesion in phantom.masks)
            if path.exists():
                with Image.open(path) as mask:
                    assert mask.mode == "L"
                    assert np.array_equal(np.asarray(mask), np.where(phantom.masks[lesion], 255, 0))


def test_reader_finds_it_all(written: Path) -> None:
    with pytest.warns(UserWarning, match="6 training images"):
        items = drac_segmentation(written)
    assert [item["split"] for item in items].count("test") == 2
    assert all("label" not in item for item in items if item["split"] == "test")
    found = {item["id"]: sorted(item["label"]) for item in items if item["split"] != "test"}
    order = numbers(written / IMAGES / "a. Training Set")
    assert found == {str(number): sorted(image_lesions(index)) for index, number in enumerate(order)}


def test_images_and_data_sets_differ(tmp_path: Path) -> None:
    files = [
        path.read_bytes()
        for seed in (0, 1)
        for path in write_drac(tmp_path / str(seed), 2, 2, size=(128, 128), seed=seed).glob(f"{IMAGES}/*/*.png")
    ]
    assert len(set(files)) == len(files) == 8


def test_lesions_go_round() -> None:
    for few in (6, 7, 9, 12):
        counts = [sum(lesion in image_lesions(index) for index in range(few)) for lesion in OCTA_LESIONS]
        assert all(3 <= count <= few - 1 for count in counts)
    shares = [np.mean([lesion in image_lesions(index) for index in range(120)]) for lesion in OCTA_LESIONS]
    assert shares == pytest.approx([86 / 109, 106 / 109, 35 / 109], abs=0.06)
    assert all(image_lesions(index) for index in range(24))


@pytest.mark.parametrize(("training", "test"), [(1, 0), (1, 1), (6, 2), (16, 4), (109, 65), (2, 9)])
def test_numbers_are_unique_with_gaps(training: int, test: int) -> None:
    first, second = image_numbers(training, test)
    assert (len(first), len(second)) == (training, test)
    assert len({*first, *second}) == training + test
    for ids in (first, second):
        assert ids == sorted(ids)
        assert np.diff(ids).min(initial=2) >= 2
