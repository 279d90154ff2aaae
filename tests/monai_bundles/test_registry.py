from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from tinylesions.datasets import InputError
from tinylesions.monai_bundles import BUNDLES, find_bundle

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "monai_bundles"
MADE_BY_RUNS = {"models", "output", "__pycache__"}


def shipped_files() -> set[str]:
    """Every file of every bundle but for what runs left there, relative to the folder of bundles."""
    paths = (path.relative_to(FOLDER) for path in FOLDER.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if len(path.parts) > 1 and not MADE_BY_RUNS & set(path.parts)}


def test_every_folder_is_registered():
    folders = {path.parent.parent.name for path in FOLDER.glob("*/configs/metadata.json")}
    assert folders == set(BUNDLES)
    for name, bundle in BUNDLES.items():
        assert bundle.name == name
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
        assert bundle.title


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=list(BUNDLES))
class TestBundle:
    def test_folder_and_weights(self, bundle):
        assert bundle.root.samefile(FOLDER / bundle.name)
        # where an inference looks for them
        parser = ConfigParser()
        parser.read_config(bundle.config_files("inference"))
        parser.update({"bundle_root": str(bundle.root)})
        assert bundle.weights == Path(parser.get_parsed_content("ckpt_path"))
        assert bundle.weights.is_relative_to(bundle.root)

    def test_configs_come_in_the_order_asked_for(self, bundle):
        files = bundle.config_files("train", "evaluate")
        assert [Path(file).name for file in files] == ["train.json", "evaluate.json"]
        assert all(Path(file).is_absolute() and Path(file).is_file() for file in files)

    def test_unknown_config_is_named_with_the_choice(self, bundle):
        with pytest.raises(
            InputError, match=f"{bundle.name} has no config 'trian': choose .*evaluate, .*train"
        ) as error:
            bundle.config_files("train", "trian")
        assert "metadata" not in str(error.value)

    def test_presets_and_experiments_are_files(self, bundle):
        assert bundle.presets == [name for name in ("cpu",) if (bundle.root / "configs" / f"{name}.json").exists()]
        tables = {path.name for path in (bundle.root / "experiments").iterdir()}
        assert {f"{name}.json" for name in bundle.experiments} == tables
        assert bundle.experiments == sorted(bundle.experiments)


def test_finding_a_bundle():
    for name, bundle in BUNDLES.items():
        assert find_bundle(name) is bundle
    with pytest.raises(InputError, match=f"no bundle 'fundus': choose one of {next(iter(BUNDLES))}"):
        find_bundle("fundus")


@pytest.mark.slow
def test_wheel_holds_the_bundles(tmp_path):
    hidden = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "demo", "runs", *MADE_BY_RUNS)
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=hidden)  # a build leaves its folders in the source
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    prefix = "tinylesions/monai_bundles/"
    names = {name.removeprefix(prefix) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(prefix)}
    assert {name for name in names if "/" in name} == shipped_files()
    assert len(shipped_files()) >= 10 * len(BUNDLES)

    # as a user who has no source: another folder, and the wheel before anything else
    installed = tmp_path / "installed"
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(installed), str(wheel)], check=True, capture_output=True
    )
    code = (
        "from tinylesions.monai_bundles import BUNDLES\n"
        "for bundle in BUNDLES.values():\n"
        "    print(*bundle.config_files('train', 'evaluate', 'inference'), sep='\\n')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    files = [Path(line) for line in answer.stdout.splitlines()]
    assert len(files) == 3 * len(BUNDLES)
    assert all(file.is_relative_to(installed) and file.is_file() for file in files)
