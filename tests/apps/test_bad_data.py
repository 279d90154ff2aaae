"""Bad data sets, and phantoms that cannot be drawn: one sentence, exit code 2, nothing half-written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tinylesions.monai_bundles import BUNDLES

from .conftest import PHOTOS

BUNDLE = next(iter(BUNDLES))
MASKS = Path("A. Segmentation", "2. All Segmentation Groundtruths", "a. Training Set")
HAEMORRHAGE = MASKS / "2. Haemorrhages" / "IDRiD_01_HE.tif"


class TestMasks:
    def check(self, tinylesions, dataset, tmp_path) -> str:
        """The sentence of the only problem in a data set, in the table's file, too."""
        csv = tmp_path / "table.csv"
        answer = tinylesions("check-data", "idrid", dataset, "--csv", csv)
        assert answer.code == 2
        assert "1 photo has problems: repair" in answer.err
        (sentence,) = [line for line in answer.out.splitlines() if line.startswith("problem: ")]
        problems = pd.read_csv(csv).set_index("id")["problem"].dropna()
        assert list(problems.items()) == [("IDRiD_01", sentence.removeprefix("problem: "))]
        return sentence

    @pytest.mark.parametrize(
        ("spoil", "wrong", "remedy"),
        [
            (lambda mask: mask.convert("RGBA"), "alpha channel", "save it as 8-bit grey"),
            (lambda mask: mask.resize((300, 200), Image.Resampling.NEAREST), "300 × 200", "the photo's own size"),
            (lambda mask: Image.new("L", mask.size), "all black", "delete the file"),
            (lambda mask: Image.new("L", mask.size, 255), "every pixel", "draw the lesion on black"),
        ],
        ids=["alpha", "size", "black", "white"],
    )
    def test_spoilt(self, tinylesions, dataset, tmp_path, spoil, wrong, remedy):
        with Image.open(dataset / HAEMORRHAGE) as mask:
            spoilt = spoil(mask)
        spoilt.save(dataset / HAEMORRHAGE)
        sentence = self.check(tinylesions, dataset, tmp_path)
        assert sentence.startswith(f"problem: {dataset / HAEMORRHAGE}")
        assert wrong in sentence
        assert remedy in sentence

    def test_truncated_photo(self, tinylesions, dataset, tmp_path):
        path = dataset / PHOTOS / "IDRiD_01.jpg"
        path.write_bytes(path.read_bytes()[:3000])
        sentence = self.check(tinylesions, dataset, tmp_path)
        assert sentence.startswith(f"problem: {path}: the photo is truncated")

    def test_missing_folder(self, tinylesions, dataset):
        folder = dataset / MASKS / "2. Haemorrhages"
        shutil.rmtree(folder)
        problem = tinylesions("check-data", "idrid", dataset).problem
        assert problem.startswith(f"{folder}: this folder is missing; the official layout is")

    def test_mask_without_photo(self, tinylesions, dataset):
        (dataset / PHOTOS / "IDRiD_01.jpg").unlink()
        assert "belongs to no photo" in tinylesions("check-data", "idrid", dataset).problem

    def test_spoilt_mask_stops_a_training(self, tinylesions, dataset, tmp_path, tiny_bundle, monkeypatch):
        monkeypatch.setitem(BUNDLES, BUNDLE, tiny_bundle)
        with Image.open(dataset / HAEMORRHAGE) as mask:
            size = mask.size
        Image.new("L", size).save(dataset / HAEMORRHAGE)
        out = tmp_path / "out"
        answer = tinylesions(
            "experiment", "table_4", "--row", "output 4", "--dataset-dir", dataset, "--preset", "cpu", "--out", out
        )
        assert f"{dataset / HAEMORRHAGE}: the mask is all black" in answer.problem
        assert not list(out.rglob("*.pt"))
        assert not (out / "table_4.csv").exists()


class TestPhantoms:
    @pytest.mark.parametrize(
        ("arguments", "wrong"),
        [
            (("--photos", "0", "1", "1"), "0 1 1 photos cannot be drawn: name three numbers, the first above 0."),
            (("--photos", "1", "-1", "1"), "1 -1 1 photos cannot be drawn: name three numbers, the first above 0."),
            (("--photos", "1", "0", "0", "--size", "10", "20"), "at least (192, 256) pixels (height, width)"),
            (("--photos", "1", "0", "0", "--size", "-5", "-5"), "at least (192, 256) pixels (height, width)"),
        ],
    )
    def test_numbers(self, tinylesions, tmp_path, arguments, wrong):
        assert wrong in tinylesions("phantom", tmp_path / "new", *arguments).problem
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "arguments", [("--photos", "1", "2"), ("--photos", "a", "1", "1"), ("--seed", "-1"), ("--layout", "nope")]
    )
    def test_no_numbers(self, tinylesions, tmp_path, arguments):
        answer = tinylesions("phantom", tmp_path / "new", *arguments)
        assert answer.code == 2
        assert arguments[0] in answer.err
        assert list(tmp_path.iterdir()) == []

    def test_folder_with_something_in_it(self, tinylesions, tmp_path):
        (tmp_path / "mine.txt").write_text("mine")
        problem = tinylesions("phantom", tmp_path).problem
        assert problem == f"{tmp_path} is not empty: name a new folder, or remove what is there."
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_current_folder(self, tinylesions, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert "current folder: name a new folder" in tinylesions("phantom", ".").problem

    def test_interrupted(self, tinylesions, tmp_path, monkeypatch):
        def draw(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("tinylesions.datasets.phantoms.idrid.draw_fundus", draw)
        assert tinylesions("phantom", tmp_path / "new").code not in (0, 2)
        assert list(tmp_path.iterdir()) == []
