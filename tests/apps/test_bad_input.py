"""Bad input to a prediction, and bad names and folders: one sentence that names the file, what is wrong and what to do;
exit code 2; nothing half-written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tinylesions.datasets import LAYOUTS
from tinylesions.monai_bundles import BUNDLES, find_bundle

BUNDLE = next(iter(BUNDLES))


@pytest.fixture
def bad(tmp_path) -> Path:
    folder = tmp_path / "bad"
    folder.mkdir()
    return folder


class TestPhotos:
    @pytest.fixture(params=["truncated", "black", "text", "empty", "bracket", "missing format"])
    def case(self, request, bad, photo, image) -> tuple[Path, str, str]:
        """A bad photo, what is wrong with it, and what to do."""
        data = photo.read_bytes()
        path, content, wrong, remedy = {
            "truncated": ("half.jpg", data[: len(data) // 2], "truncated", "download it again"),
            "black": ("black.png", None, "no field of view", "leave it out"),
            "text": ("text.jpg", b"no photo at all", "no JPG, PNG, TIFF or BMP", "convert it"),
            "empty": ("empty.jpg", b"", "empty", "copy it again"),
            "bracket": ("[red]x.jpg", b"no photo at all", "no JPG, PNG, TIFF or BMP", "convert it"),
            "missing format": ("movie.png", b"GIF89a" + bytes(50), "no JPG, PNG, TIFF or BMP", "convert it"),
        }[request.param]
        if content is None:
            Image.new("RGB", (200, 150)).save(bad / path)
        else:
            (bad / path).write_bytes(content)
        return bad / path, wrong, remedy

    def test_alone_and_among_good_ones(self, predict, case, photo, tmp_path):
        path, wrong, remedy = case
        answer = predict(path, photo)
        assert answer.code == 2
        assert "1 photo predicted: see" in answer.out
        out = tmp_path / "out"
        assert answer.err.splitlines()[0] == f"1 photo left out, see {out / 'errors.csv'}:"
        (sentence,) = answer.err.splitlines()[1:]
        assert str(path) in sentence
        assert wrong in sentence
        assert remedy in sentence
        errors = pd.read_csv(out / "errors.csv")
        assert errors.to_dict("records") == [{"file": str(path), "problem": sentence.strip()}]
        assert {child.name for child in out.iterdir()} == {
            *("IDRiD_01", "errors.csv", "lesions.csv", "photos.csv", "run.json")
        }

    def test_all_bad(self, predict, bad, tmp_path):
        (bad / "text.jpg").write_text("no photo")
        answer = predict(bad)
        assert answer.code == 2
        assert "0 photos predicted" in answer.out
        assert {child.name for child in (tmp_path / "out").iterdir()} == {"errors.csv", "run.json"}

    def test_empty_folder(self, predict, bad, tmp_path):
        problem = predict(bad).problem
        assert str(bad) in problem
        assert "no photo" in problem
        assert "name the folder" in problem
        assert not (tmp_path / "out").exists()

    def test_missing(self, predict, tmp_path):
        assert predict("nowhere.jpg").problem == "nowhere.jpg: there is no such photo or folder; check the path"
        assert not (tmp_path / "out").exists()


class TestWeights:
    @pytest.fixture(autouse=True)
    def _nothing_written(self, tmp_path):
        yield
        assert not (tmp_path / "out").exists()

    def test_of_another_width(self, predict, photo, wide_weights):
        problem = predict(photo, weights=wide_weights).problem
        assert problem.startswith(f"{wide_weights} does not fit VGG16UNetPlusPlus")
        assert "preset" in problem

    def test_of_the_preset_without_the_preset(self, tinylesions, photo, weights, bad, tmp_path):
        weights = shutil.copy(weights, bad)  # without the record, which says the preset's widths
        problem = tinylesions("predict", photo, "--weights", weights, "--out", tmp_path / "out").problem
        assert "preset" in problem

    def test_garbage(self, predict, photo, bad):
        (bad / "model.pt").write_bytes(b"garbage" * 50)
        problem = predict(photo, weights=bad / "model.pt").problem
        assert problem.startswith(f"{bad / 'model.pt'} is no file of weights, or a damaged one: name")

    def test_truncated(self, predict, photo, bad, weights):
        data = weights.read_bytes()
        (bad / "model.pt").write_bytes(data[: len(data) // 2])
        assert str(bad / "model.pt") in predict(photo, weights=bad / "model.pt").problem

    @pytest.mark.parametrize("name", ["nowhere.pt", "."])
    def test_missing(self, predict, photo, bad, name):
        problem = predict(photo, weights=bad / name).problem
        assert problem.startswith(f"there are no weights at {bad / name}: train first")

    def test_bundle_without_weights(self, tinylesions, photo, tmp_path, tiny_bundle, monkeypatch):
        monkeypatch.setitem(BUNDLES, BUNDLE, tiny_bundle)
        tiny_bundle.weights.unlink(missing_ok=True)
        problem = tinylesions("predict", photo, "--preset", "cpu", "--out", tmp_path / "out").problem
        assert problem.startswith(f"there are no weights at {tiny_bundle.weights}: train first")


class TestNames:
    @pytest.mark.parametrize(
        ("arguments", "wrong", "choice"),
        [
            (("--bundle", "nope"), "no bundle 'nope'", BUNDLE),
            (("--device", "nonsense"), "device 'nonsense'", "cpu"),
            (("--device", "cuda:99"), "device 'cuda:99'", "cpu"),
            (("--device", "meta"), "device 'meta'", "cpu"),
        ],
    )
    def test_of_predict(self, predict, photo, tmp_path, arguments, wrong, choice):
        problem = predict(photo, *arguments).problem
        assert wrong in problem
        assert "choose one of" in problem
        assert choice in problem.split("choose one of")[1]
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("preset", ["nope", "train", "metadata", "../configs/cpu"])
    def test_preset(self, tinylesions, photo, weights, tmp_path, preset):
        for command in (
            ("predict", photo, "--weights", weights),
            ("experiment", "table_4", "--dataset-dir", tmp_path),
        ):
            problem = tinylesions(*command, "--preset", preset, "--out", tmp_path / "out").problem
            assert problem == f"{BUNDLE} has no preset {preset!r}: choose one of cpu."
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("arguments", "wrong", "choice"),
        [
            (("table_9",), "no table 'table_9'", ", ".join(find_bundle(BUNDLE).experiments)),
            (("../configs/train",), "no table '../configs/train'", "table_4"),
            (("table_4", "--row", "nope"), "no row 'nope'", "U-Net, output 1"),
            (("table_4", "--bundle", "nope"), "no bundle 'nope'", BUNDLE),
        ],
    )
    def test_of_experiment(self, tinylesions, dataset, tmp_path, arguments, wrong, choice):
        problem = tinylesions(
            "experiment", *arguments, "--dataset-dir", dataset, "--out", tmp_path / "out", "--preset", "cpu"
        ).problem
        assert wrong in problem
        assert choice in problem
        assert not (tmp_path / "out").exists()

    def test_data_set_of_an_experiment(self, tinylesions, tmp_path):
        nowhere = tmp_path / "nowhere"
        problem = tinylesions("experiment", "table_4", "--dataset-dir", nowhere, "--out", tmp_path / "out").problem
        assert problem.startswith(f"{nowhere}: there is no such folder; name the one")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "arguments",
        [
            ("check-data", "nope", "."),
            ("experiment", "table_4", "--dataset-dir", ".", "--out", "out", "--layout", "nope"),
        ],
    )
    def test_layout(self, tinylesions, arguments):
        answer = tinylesions(*arguments)
        assert answer.code == 2
        assert all(name in answer.err for name in ("nope", *LAYOUTS))

    def test_bundle_of_the_demonstration(self, tinylesions, tmp_path):
        problem = tinylesions("demo", "--bundle", "nope", "--out", tmp_path / "out").problem
        assert "no bundle 'nope'" in problem
        assert not (tmp_path / "out").exists()


class TestOutput:
    @pytest.mark.parametrize("below", [(), ("deep",), ("deep", "er")])
    def test_under_a_file(self, predict, tinylesions, photo, dataset, bad, below):
        (bad / "file").write_text("mine")
        out = bad.joinpath("file", *below)
        for problem in (
            predict(photo, out=out).problem,
            tinylesions("experiment", "table_4", "--dataset-dir", dataset, "--preset", "cpu", "--out", out).problem,
            tinylesions("demo", "--out", out).problem,
            tinylesions("phantom", out).problem,
        ):
            assert f"{bad / 'file'} is a file" in problem
        assert [child.name for child in bad.iterdir()] == ["file"]
        assert (bad / "file").read_text() == "mine"

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
    @pytest.mark.parametrize(
        ("limit", "left"), [(200, set()), (3000, {"run.json", "errors.csv"})], ids=["at once", "at a photo"]
    )
    def test_full_disk(self, photo, weights, tmp_path, limit, left):
        out = tmp_path / "out"
        # a process of its own, since the limit holds for all that it writes
        code = (
            "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY));"
            "from tinylesions.apps.main import main; main()"
        )
        arguments = ["predict", photo, "--weights", weights, "--preset", "cpu", "--out", out]
        answer = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        assert answer.returncode == 2, answer.stderr
        assert "cannot be written (File too large): free some space" in answer.stderr
        assert "Traceback" not in answer.stderr
        assert {child.name for child in out.iterdir()} == left

    @pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
    def test_forbidden(self, predict, photo, bad):
        bad.chmod(0o500)
        assert "may write" in predict(photo, out=bad / "out").problem
