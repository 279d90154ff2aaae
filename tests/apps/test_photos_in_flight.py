"""`tinylesions predict` with several photos at a time: results, messages and ends as with one after another."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import chain, repeat
from pathlib import Path

import pytest

from tinylesions.apps import photo_steps
from tinylesions.apps.photo_steps import PhotoSteps
from tinylesions.apps.predict import predict as predict_photos
from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.inferers import progress
from tinylesions.monai_bundles import find_bundle
from tinylesions.transforms import save_lesions

BUNDLE = "fundus_multi_lesion_segmentation"


@pytest.fixture
def photos(image, tmp_path) -> Path:
    """Five different photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate("abcde"):
        image.rotate(90 * number).crop((number, 0, 256 - 2 * number, 192 - number)).save(folder / f"{name}.png")
    return folder


def results(out: Path) -> dict[str, bytes]:
    """The photos' files, but for the summary, which tells times."""
    files = [path for path in out.glob("*/*") if path.name != "summary.json"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("workers", [1, 3])
def test_same_files_as_one_after_another(photos, weights, tmp_path, workers):
    """MONAI's own run of the bundle is one after another."""
    bundle = find_bundle(BUNDLE)
    places = {"dataset_dir": photos, "ckpt_path": weights, "output_dir": tmp_path / "monai"}
    run_workflow(build_workflow(bundle, ["inference", "cpu"], places, "infer"))
    said: list[str] = []
    predict_photos([photos], bundle, tmp_path / "out", weights, ["cpu"], say=said.append, workers=workers)
    assert results(tmp_path / "out") == results(tmp_path / "monai")
    assert len(results(tmp_path / "out")) == 5 * 7
    assert [line[:5] for line in said[1:]] == [f"[{number}/5]" for number in range(1, 6)]


class TestMessages:
    def test_of_a_photo_that_cannot_be_read(self, predict, photos, tmp_path):
        (photos / "c.png").write_bytes(b"no photo")
        lines = predict(photos).out.splitlines()
        assert [line[:5] for line in lines[1:-1]] == [f"[{number}/5]" for number in range(1, 6)]
        assert lines[3].startswith(f"[3/5] left out: {photos / 'c.png'}")
        assert lines[-1] == f"4 photos predicted: see {tmp_path / 'out'}"

    def test_of_a_photo_that_cannot_be_written(self, predict, photos, tmp_path, monkeypatch):
        """The network is busy with the next photo by then."""
        begun = threading.Event()
        infer, write_table = PhotoSteps.infer, save_lesions.write_table

        def noted(steps, photo, loaded):
            if photo.id == "b":
                begun.set()
            return infer(steps, photo, loaded)

        def full(*_):
            assert begun.wait(20)
            raise OSError(errno.ENOSPC, "No space left on device")

        writes = chain([full], repeat(write_table))
        monkeypatch.setattr(PhotoSteps, "infer", noted)
        monkeypatch.setattr(save_lesions, "write_table", lambda *arguments: next(writes)(*arguments))
        answer = predict(photos)
        assert answer.code == 2
        lines = answer.out.splitlines()[1:-1]
        assert [line[:5] for line in lines] == ["[1/5]", *(f"[{number}/5]" for number in range(1, 6))]
        assert "a.png: field of view" in lines[0]
        assert lines[1] == (
            f"[1/5] left out: {tmp_path / 'out' / 'a'} cannot be written (No space left on device): free some space"
            " or choose another output folder."
        )
        assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == set("bcde")

    def test_the_time_of_a_photo_that_takes_long(self, predict, photo, monkeypatch):
        monkeypatch.setattr(progress, "MEASURED_SECONDS", 0.0)
        assert "seconds for its windows" not in predict(photo).out
        monkeypatch.setattr(photo_steps, "LONG_SECONDS", 0.0)
        header, estimate = predict(photo, "--overwrite").out.splitlines()[1:-1]
        assert header.startswith("[1/1] IDRiD_01.jpg: field of view")
        assert estimate.startswith("[1/1] IDRiD_01.jpg: about ")
        assert estimate.endswith(" seconds for its windows")


class TestControlC:
    def test_in_the_network_while_the_photo_before_is_written(self, predict, photos, tmp_path, monkeypatch):
        pressed = threading.Event()
        infer, write_table = PhotoSteps.infer, save_lesions.write_table

        def interrupted(steps, photo, loaded):
            if photo.id == "b":
                pressed.set()
                raise KeyboardInterrupt
            return infer(steps, photo, loaded)

        def slow(table, path):
            assert pressed.wait(20)
            write_table(table, path)

        with monkeypatch.context() as patch:
            patch.setattr(PhotoSteps, "infer", interrupted)
            patch.setattr(save_lesions, "write_table", slow)
            answer = predict(photos)
        assert answer.code not in (0, 2)
        assert answer.err == "interrupted: give the same command again to go on.\n"
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "run.json"}
        assert "4 photos predicted, 1 already done" in predict(photos).out

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
    @pytest.mark.parametrize("delay", [0, 0.3, 0.7])
    def test_pressed(self, image, weights, tmp_path, delay):
        """At a real process: it ends by itself, with whole folders only."""
        (tmp_path / "photos").mkdir()
        for number in range(30):
            image.resize((1072, 804)).save(tmp_path / "photos" / f"{number}.png")
        out = tmp_path / "out"
        command = "from tinylesions.apps.main import main; main()"
        arguments = ["predict", tmp_path / "photos", "--weights", weights, "--preset", "cpu", "--out", out]
        with subprocess.Popen([sys.executable, "-c", command, *map(str, arguments)], stderr=subprocess.PIPE) as process:
            while not list(out.glob("*/summary.json")):
                assert process.poll() is None
                time.sleep(0.05)
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert errors.decode().splitlines()[-1] == "interrupted: give the same command again to go on."
        folders = [path for path in out.iterdir() if path.is_dir()]
        assert 1 <= len(folders) < 30
        assert all("settings_key" in (folder / "summary.json").read_text(encoding="utf-8") for folder in folders)
        assert {len(os.listdir(folder)) for folder in folders} == {8}  # noqa: PTH208
        assert not list(out.glob(".part-*"))
