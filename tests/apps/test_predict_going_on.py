"""`tinylesions predict` given again: what is done stays, what is not is done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tinylesions.transforms import save_lesions

from .conftest import Answer
from .results import FILES, names, read_json, table


def times(out: Path) -> dict[str, int]:
    """When the label map of each photo was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/label_map.png")}


def press_control_c(*_: object) -> None:
    raise KeyboardInterrupt


class TestGoingOn:
    @pytest.fixture
    def photos(self, image, tmp_path) -> Path:
        folder = tmp_path / "photos"
        folder.mkdir()
        for name in ("a", "b", "c"):
            image.save(folder / f"{name}.png")
        return folder

    @pytest.fixture
    def interrupted(self, predict, photos, monkeypatch) -> Callable[..., Answer]:
        """Predict, with Ctrl-C in the middle of writing the second photo."""

        def run(**options):
            calls = iter([save_lesions.write_table, press_control_c])
            with monkeypatch.context() as patch:
                patch.setattr(save_lesions, "write_table", lambda *arguments: next(calls)(*arguments))
                return predict(photos, **options)

        return run

    def test_the_second_time_nothing_is_left_to_do(self, predict, photos, tmp_path):
        predict(photos)
        before, tables = times(tmp_path / "out"), (tmp_path / "out" / "photos.csv").read_bytes()
        answer = predict(photos)
        assert answer.code == 0
        assert "0 photos predicted, 3 already done" in answer.out
        assert times(tmp_path / "out") == before
        assert (tmp_path / "out" / "photos.csv").read_bytes() == tables

    def test_overwrite(self, predict, photos, tmp_path):
        predict(photos)
        before = times(tmp_path / "out")
        assert "3 photos predicted: see" in predict(photos, "--overwrite").out
        after = times(tmp_path / "out")
        assert all(after[name] > before[name] for name in before)

    def test_other_settings(self, predict, photos, tmp_path):
        predict(photos)
        assert "3 photos predicted: see" in predict(photos, "--overlap", "0.25").out
        assert read_json(tmp_path / "out" / "run.json")["settings"]["overlap"] == 0.25

    def test_a_photo_put_in_anothers_place(self, predict, photos, image, tmp_path):
        predict(photos)
        older = (photos / "b.png").stat()
        image.rotate(180).save(photos / "b.png")
        os.utime(photos / "b.png", ns=(older.st_atime_ns, older.st_mtime_ns))
        assert "1 photo predicted, 2 already done" in predict(photos).out

    def test_new_photos_are_added(self, predict, photos, tmp_path):
        predict(photos / "a.png", photos / "c.png")
        assert "1 photo predicted, 2 already done" in predict(photos).out
        assert list(table(tmp_path / "out", "photos")["photo"]) == ["a", "b", "c"]

    def test_a_file_of_the_same_name_elsewhere_is_another_photo(self, predict, photos, image, tmp_path):
        predict(photos / "a.png")
        (tmp_path / "elsewhere").mkdir()
        image.rotate(180).save(tmp_path / "elsewhere" / "a.png")
        before = (tmp_path / "out" / "a" / "summary.json").read_bytes()
        answer = predict(tmp_path / "elsewhere" / "a.png")
        assert answer.code == 2
        assert "holds the result of another photo of that name" in answer.err
        assert (tmp_path / "out" / "a" / "summary.json").read_bytes() == before
        assert "1 photo predicted: see" in predict(tmp_path / "elsewhere" / "a.png", "--overwrite").out

    def test_results_inside_the_photos_folder_are_no_photos(self, predict, photos):
        predict(photos, out=photos / "results")
        assert "0 photos predicted, 3 already done" in predict(photos, out=photos / "results").out

    def test_control_c_leaves_whole_folders_only(self, interrupted, tmp_path):
        answer = interrupted()
        assert answer.code not in (0, 2)
        assert answer.err == "interrupted: give the same command again to go on.\n"
        assert names(tmp_path / "out") == {"a", "run.json"}
        assert names(tmp_path / "out" / "a") == FILES

    def test_goes_on_after_control_c(self, interrupted, predict, photos, tmp_path):
        interrupted()
        assert "2 photos predicted, 1 already done" in predict(photos).out
        assert list(table(tmp_path / "out", "photos")["photo"]) == ["a", "b", "c"]

    def test_photos_of_older_weights_are_not_taken_for_done(
        self, interrupted, predict, photos, tmp_path, other_weights
    ):
        predict(photos)
        interrupted(weights=other_weights)
        assert "2 photos predicted, 1 already done" in predict(photos, weights=other_weights).out
        fresh = tmp_path / "fresh"
        predict(photos, weights=other_weights, out=fresh)
        for path in fresh.glob("*/*.png"):
            assert (tmp_path / "out" / path.relative_to(fresh)).read_bytes() == path.read_bytes()

    def test_a_photo_that_fails_now_is_not_in_the_tables(self, predict, photos, tmp_path, other_weights):
        predict(photos)
        (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:2000])
        assert predict(photos, weights=other_weights).code == 2
        assert list(table(tmp_path / "out", "photos")["photo"]) == ["a", "c"]
        assert list(pd.read_csv(tmp_path / "out" / "errors.csv")["file"]) == [str(photos / "b.png")]

    def test_errors_go_when_they_are_repaired(self, predict, photos, image, tmp_path):
        (photos / "b.png").write_bytes(b"")
        assert predict(photos).code == 2
        image.save(photos / "b.png")
        assert predict(photos).code == 0
        assert not (tmp_path / "out" / "errors.csv").exists()
