from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tinylesions.datasets.phantoms import (
    draw_fundus,
    write_ddr_grading,
    write_ddr_segmentation,
    write_eyepacs,
    write_idrid_grading,
    write_idrid_segmentation,
)

SIZE = (192, 288)


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_idrid_segmentation_layout(tmp_path: Path) -> None:
    calls: list[int] = []
    root = write_idrid_segmentation(tmp_path / "idrid", 2, 1, SIZE, progress=lambda: calls.append(1))
    assert root == tmp_path / "idrid"
    assert len(calls) == 3
    base = root / "A. Segmentation"
    assert files(base / "1. Original Images") == [
        "a. Training Set/IDRiD_01.jpg",
        "a. Training Set/IDRiD_02.jpg",
        "b. Testing Set/IDRiD_55.jpg",
    ]
    truths = base / "2. All Segmentation Groundtruths"
    assert [path for path in files(truths) if "IDRiD_01" in path] == [
        "a. Training Set/1. Microaneurysms/IDRiD_01_MA.tif",
        "a. Training Set/2. Haemorrhages/IDRiD_01_HE.tif",
        "a. Training Set/3. Hard Exudates/IDRiD_01_EX.tif",
        "a. Training Set/4. Soft Exudates/IDRiD_01_SE.tif",
        "a. Training Set/5. Optic Disc/IDRiD_01_OD.tif",
    ]
    assert "b. Testing Set/5. Optic Disc/IDRiD_55_OD.tif" in files(truths)
    for path in truths.rglob("*.tif"):
        with Image.open(path) as mask:
            assert mask.mode == "P"
            assert mask.getpalette()[:6] == [0, 0, 0, 255, 0, 0]
            assert mask.size == SIZE[::-1]
            assert np.unique(np.asarray(mask)).tolist() == [0, 1]


def test_idrid_numbers_and_absent_lesions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw_fundus(0, (192, 256), grade=1)
    monkeypatch.setattr("tinylesions.datasets.phantoms.idrid.draw_fundus", lambda *_: drawn)
    base = write_idrid_segmentation(tmp_path, 56, 1) / "A. Segmentation"
    photos = files(base / "1. Original Images")
    assert photos[0] == "a. Training Set/IDRiD_01.jpg"
    assert photos[-2:] == ["a. Training Set/IDRiD_56.jpg", "b. Testing Set/IDRiD_57.jpg"]
    masks = files(base / "2. All Segmentation Groundtruths")
    assert {path.split("_")[-1] for path in masks} == {"MA.tif", "OD.tif"}
    assert len(masks) == 2 * 57


def test_idrid_grading_layout(tmp_path: Path) -> None:
    base = write_idrid_grading(tmp_path, 5, 2, SIZE) / "B. Disease Grading"
    assert files(base) == [
        *(f"1. Original Images/a. Training Set/IDRiD_{number:03d}.jpg" for number in range(1, 6)),
        *(f"1. Original Images/b. Testing Set/IDRiD_{number:03d}.jpg" for number in range(1, 3)),
        "2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv",
        "2. Groundtruths/b. IDRiD_Disease Grading_Testing Labels.csv",
    ]
    table = pd.read_csv(base / "2. Groundtruths" / "a. IDRiD_Disease Grading_Training Labels.csv")
    assert list(table.columns) == ["Image name", "Retinopathy grade", "Risk of macular edema"]
    assert table["Image name"].tolist() == [f"IDRiD_{number:03d}" for number in range(1, 6)]
    assert sorted(table["Retinopathy grade"]) == [0, 1, 2, 3, 4]
    assert (table.loc[table["Retinopathy grade"] < 2, "Risk of macular edema"] == 0).all()
    assert table["Risk of macular edema"].between(0, 2).all()


def test_ddr_segmentation_layout(tmp_path: Path) -> None:
    base = write_ddr_segmentation(tmp_path, 2, 1, 1, (256, 384)) / "lesion_segmentation"
    assert (base / "train" / "image" / "007-0001-000.jpg").is_file()
    for split, folder, count in (("train", "label", 2), ("valid", "segmentation label", 1), ("test", "label", 1)):
        photos = sorted((base / split / "image").glob("*.jpg"))
        assert len(photos) == count
        assert sorted(path.name for path in (base / split).iterdir()) == sorted(["image", folder])
        for code in ("EX", "HE", "MA", "SE"):
            masks = sorted((base / split / folder / code).iterdir())
            assert [mask.name for mask in masks] == [f"{photo.stem}.tif" for photo in photos]
            for mask, photo in zip(masks, photos, strict=True):
                with Image.open(mask) as opened, Image.open(photo) as picture:
                    assert opened.mode == "L"
                    assert opened.size == picture.size
                    assert set(np.unique(np.asarray(opened))) <= {0, 255}
    with (
        Image.open(base / "train/image/007-0001-000.jpg") as one,
        Image.open(base / "train/image/007-0001-001.jpg") as two,
    ):
        assert one.size != two.size
        assert 0.79 * 256 <= one.size[1] <= 256


def test_ddr_grading_layout(tmp_path: Path) -> None:
    base = write_ddr_grading(tmp_path, 5, 1, 0, SIZE) / "DR_grading"
    lines = (base / "train.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(int(line.split()[1]) for line in lines) == [0, 1, 2, 3, 4]
    assert all((base / "train" / line.split()[0]).is_file() for line in lines)
    assert (base / "test.txt").read_text(encoding="utf-8") == ""


def test_eyepacs_layout(tmp_path: Path) -> None:
    root = write_eyepacs(tmp_path, 10, 3, (192, 256))
    assert sorted(path.name for path in root.iterdir()) == [
        "retinopathy_solution.csv",
        "test",
        "train",
        "trainLabels.csv",
    ]
    train, test = (pd.read_csv(root / name) for name in ("trainLabels.csv", "retinopathy_solution.csv"))
    assert list(train.columns) == ["image", "level"]
    assert list(test.columns) == ["image", "level", "Usage"]
    assert train["image"].tolist() == [f"{patient}_{eye}" for patient in range(10, 15) for eye in ("left", "right")]
    assert test["image"].tolist() == ["15_left", "15_right", "16_left"]
    assert sorted(train["level"][::2]) == [0, 1, 2, 3, 4]
    assert np.abs(train["level"].to_numpy()[::2] - train["level"].to_numpy()[1::2]).max() == 1
    assert files(root / "train") == sorted(f"{name}.jpeg" for name in train["image"])
    assert files(root / "test") == sorted(f"{name}.jpeg" for name in test["image"])
    photos = [path.read_bytes() for path in root.rglob("*.jpeg")]
    assert len(set(photos)) == 13


def test_splits_and_seeds_do_not_share_photos(tmp_path: Path) -> None:
    photos = [
        path.read_bytes()
        for seed in (0, 1)
        for path in write_idrid_segmentation(tmp_path / str(seed), 1, 1, (192, 256), seed).rglob("*.jpg")
    ]
    assert len(set(photos)) == 4


REAL = os.environ.get("TINYLESIONS_REAL_DATA")


@pytest.mark.skipif(not REAL, reason="TINYLESIONS_REAL_DATA is unset")
def test_folders_and_masks_are_those_of_the_real_idrid(tmp_path: Path) -> None:
    real = Path(str(REAL)) / "idrid"
    ours = write_idrid_segmentation(tmp_path, 1, 1, SIZE)

    def folders(root: Path) -> set[str]:
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_dir()}

    assert folders(real / "A. Segmentation") <= folders(ours / "A. Segmentation")
    name = "2. All Segmentation Groundtruths/a. Training Set/2. Haemorrhages/IDRiD_01_HE.tif"
    with Image.open(real / "A. Segmentation" / name) as theirs, Image.open(ours / "A. Segmentation" / name) as mine:
        assert mine.mode == theirs.mode
        assert mine.getpalette()[:6] == theirs.getpalette()[:6]
    labels = "2. Groundtruths/b. IDRiD_Disease Grading_Testing Labels.csv"
    write_idrid_grading(tmp_path, 1, 1, SIZE)
    header = (real / "B. Disease Grading" / labels).read_bytes().splitlines(keepends=True)[0]
    assert (tmp_path / "B. Disease Grading" / labels).read_bytes().splitlines(keepends=True)[0] == header
