"""`tinylesions predict`: what it writes, and which photos it takes."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from scipy import ndimage

from tinylesions.apps.options import Precision
from tinylesions.datasets import CLASSES, LESIONS
from tinylesions.inferers import PRECISIONS, resolve_precision
from tinylesions.monai_bundles import find_bundle
from tinylesions.transforms import field_of_view_mask, otsu_box

from .results import FILES, names, read_json, table


class TestResults:
    @pytest.fixture
    def out(self, predict, dataset, tmp_path) -> Path:
        answer = predict(dataset / "A. Segmentation" / "1. Original Images")
        assert answer.code == 0
        assert answer.out.splitlines()[0].startswith("3 photos: at most 105 windows of 64×64 px, overlap 0.5")
        assert answer.out.splitlines()[-1] == f"3 photos predicted: see {tmp_path / 'out'}"
        assert answer.err == ""
        return tmp_path / "out"

    def test_files(self, out):
        assert names(out) == {"IDRiD_01", "IDRiD_02", "IDRiD_55", "lesions.csv", "photos.csv", "run.json"}
        for photo in ("IDRiD_01", "IDRiD_02", "IDRiD_55"):
            assert names(out / photo) == FILES
            for lesion in LESIONS:
                with Image.open(out / photo / f"{lesion}.png") as probability:
                    assert (probability.size, probability.mode) == ((256, 192), "I;16")
            with Image.open(out / photo / "label_map.png") as label_map:
                assert (label_map.size, label_map.mode) == ((256, 192), "P")
            with Image.open(out / photo / "overlay.jpg") as overlay:
                assert (overlay.size, overlay.mode) == ((256, 192), "RGB")

    def test_counts_are_those_of_the_label_map(self, out):
        photos = table(out, "photos").set_index("photo")
        lesions = table(out, "lesions")
        assert list(photos.index) == ["IDRiD_01", "IDRiD_02", "IDRiD_55"]
        for photo, row in photos.iterrows():
            with Image.open(out / str(photo) / "label_map.png") as image:
                label_map = np.asarray(image)
            for lesion in LESIONS:
                mask = label_map == CLASSES.index(lesion)
                _, count = ndimage.label(mask, np.ones((3, 3)))
                assert (row[f"{lesion}_count"], row[f"{lesion}_area_px"]) == (count, mask.sum())
                own = lesions[(lesions["photo"] == photo) & (lesions["lesion"] == lesion)]
                assert (len(own), own["area_px"].sum()) == (count, mask.sum())
            outside = (label_map == CLASSES.index("black_background")).sum()
            assert row["field_of_view_area_px"] >= label_map.size - outside
        assert photos[[f"{lesion}_area_px" for lesion in LESIONS]].to_numpy().sum() > 0

    def test_columns(self, out):
        counts = [f"{lesion}_{what}" for lesion in LESIONS for what in ("count", "area_px")]
        assert list(table(out, "photos").columns) == [
            *("photo", "file", "height", "width", "seconds", "windows", "windows_skipped"),
            "field_of_view_area_px",
            *counts,
            *("file_sha256", "settings_key"),
        ]
        assert list(table(out, "lesions").columns) == [
            *("photo", "lesion", "component", "area_px", "centroid_x", "centroid_y"),
            *("box_left", "box_top", "box_width", "box_height", "mean_probability", "max_probability"),
        ]

    def test_run_record(self, out, weights):
        settings = read_json(out / "run.json")["settings"]
        metadata = read_json(find_bundle("fundus_multi_lesion_segmentation").root / "configs" / "metadata.json")
        assert settings["bundle_version"] == metadata["version"]
        assert settings["weights"] == str(weights)
        assert settings["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
        assert settings["configs"] == ["inference", "cpu"]
        assert set(table(out, "photos")["settings_key"]) == {settings["settings_key"]}
        assert settings["precision"] == {torch.float32: "float32", torch.bfloat16: "bfloat16"}[fastest()]
        assert settings["fast"] is False
        for row in table(out, "photos").itertuples():
            assert row.file_sha256 == hashlib.sha256(Path(row.file).read_bytes()).hexdigest()


def fastest() -> torch.dtype:
    return resolve_precision("auto", torch.device("cpu"))


def test_windows_are_those_that_touch_the_field_of_view(predict, image, tmp_path):
    image = image.resize((640, 480))
    image.save(tmp_path / "eye.png")
    photo = np.asarray(image).transpose(2, 0, 1)
    (top, left), (bottom, right) = otsu_box(photo)
    inside = field_of_view_mask(photo)[top:bottom, left:right]
    rows, columns = (sorted({*range(0, side - 63, 32), side - 64}) for side in inside.shape)
    touching = [inside[y : y + 64, x : x + 64].any() for y in rows for x in columns]
    line = predict(tmp_path / "eye.png").out.splitlines()[1]
    assert line == (
        f"[1/1] eye.png: field of view {right - left}×{bottom - top} px, {sum(touching)} windows,"
        f" {len(touching) - sum(touching)} skipped"
    )
    assert 0 < sum(touching) < len(touching)
    assert list(table(tmp_path / "out", "photos")["windows"]) == [sum(touching)]


class TestOptions:
    @pytest.fixture(autouse=True)
    def _wide(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "160")  # so that no option's name is cut
        monkeypatch.setenv("NO_COLOR", "1")

    def test_help(self, tinylesions):
        text = tinylesions("predict", "--help").out
        assert all(option in text for option in ("--fast", "--precision", *PRECISIONS))

    def test_precisions_are_those_of_the_inferer(self):
        assert [precision.value for precision in Precision] == ["auto", *PRECISIONS]

    def test_precision(self, predict, photo, tmp_path):
        assert predict(photo, "--precision", "float32").code == 0
        assert read_json(tmp_path / "out" / "run.json")["settings"]["precision"] == "float32"
        assert "1 photo predicted: see" in predict(photo, "--precision", "bf16").out
        assert read_json(tmp_path / "out" / "run.json")["settings"]["precision"] == "bfloat16"

    def test_fast(self, predict, photo, tmp_path):
        answer = predict(photo, "--fast")
        assert answer.code == 0
        assert answer.out.splitlines()[0] == "1 photo: at most 1 window of 192×256 px, fast"
        assert read_json(tmp_path / "out" / "run.json")["settings"]["fast"] is True
        assert "1 photo predicted: see" in predict(photo).out  # other settings


class TestPhotosThatWork:
    def check(self, answer, out: Path, name: str, size: tuple[int, int]) -> None:
        assert answer.code == 0, answer
        for file in ("label_map.png", "overlay.jpg", "microaneurysm.png"):
            with Image.open(out / name / file) as image:
                assert image.size == size
        row = table(out, "photos").set_index("photo").loc[name]
        assert (row["width"], row["height"]) == size

    @pytest.mark.parametrize("mode", ["L", "CMYK"])
    def test_modes_of_jpeg(self, predict, image, tmp_path, mode):
        image.convert(mode).save(tmp_path / "eye.jpg")
        self.check(predict(tmp_path / "eye.jpg"), tmp_path / "out", "eye", (256, 192))

    def test_sixteen_bits(self, predict, image, tmp_path):
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        Image.fromarray(grey).save(tmp_path / "eye.png")
        self.check(predict(tmp_path / "eye.png"), tmp_path / "out", "eye", (256, 192))

    def test_a_turned_photo_comes_out_upright(self, predict, image, tmp_path):
        exif = image.getexif()
        exif[ExifTags.Base.Orientation] = 6
        image.save(tmp_path / "eye.jpg", exif=exif)
        self.check(predict(tmp_path / "eye.jpg"), tmp_path / "out", "eye", (192, 256))

    def test_smaller_than_a_window(self, predict, image, tmp_path):
        image.resize((40, 30)).save(tmp_path / "eye.png")
        answer = predict(tmp_path / "eye.png")
        self.check(answer, tmp_path / "out", "eye", (40, 30))
        assert "1 photo: at most 1 window of 64×64 px" in answer.out

    def test_names(self, predict, image, tmp_path):
        names = ["a.b.c", "Müller 眼", "[red]x", "$x", "@x", "%x", "NA", "007"]
        (tmp_path / "photos").mkdir()
        for name in names:
            image.save(tmp_path / "photos" / f"{name}.png")
        answer = predict(tmp_path / "photos")
        for name in names:
            self.check(answer, tmp_path / "out", name, (256, 192))
            assert f"{name}.png: field of view" in answer.out

    def test_one_name_in_two_folders(self, predict, photo, tmp_path):
        for side in ("left", "right"):
            (tmp_path / "photos" / side).mkdir(parents=True)
            shutil.copy(photo, tmp_path / "photos" / side / "eye.jpg")
        assert predict(tmp_path / "photos").code == 0
        assert list(table(tmp_path / "out", "photos")["photo"]) == ["left_eye", "right_eye"]

    @pytest.mark.parametrize("name", ["$[red]", "@x", "%x"])
    def test_names_of_weights_and_output(self, tinylesions, photo, weights, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        shutil.copy(weights, f"{name}.pt")
        answer = tinylesions("predict", photo, "--weights", f"{name}.pt", "--preset", "cpu", "--out", f"{name}out")
        assert answer.code == 0, answer
        assert answer.out.endswith(f"see {name}out\n")
        assert names(tmp_path / f"{name}out" / "IDRiD_01") == FILES


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("TINYLESIONS_REAL_DATA"), reason="TINYLESIONS_REAL_DATA names no folder")
def test_real_photo(predict, tmp_path):
    path = Path(os.environ["TINYLESIONS_REAL_DATA"]) / "hrf" / "01_dr.jpg"
    assert predict(path, "--overlap", "0").code == 0
    with Image.open(path) as photo, Image.open(tmp_path / "out" / "01_dr" / "label_map.png") as label_map:
        assert label_map.size == photo.size
