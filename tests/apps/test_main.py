"""What the command says of itself, and what becomes of errors and warnings."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import pytest

from tinylesions import __version__
from tinylesions.apps import main as main_module
from tinylesions.apps.wording import counted
from tinylesions.datasets import InputError
from tinylesions.monai_bundles import BUNDLES

COMMANDS = {
    "phantom": ("--layout", "--photos", "--size", "--seed", "--grading", "no evidence about eyes"),
    "check-data": ("--csv", "--save-datalist", "Exit code 2"),
    "predict": (
        "--weights",
        "--preset",
        "--overlap",
        "--fast",
        "--precision",
        "--device",
        "--overwrite",
        "--threshold",
        "overlay.jpg",
        "errors.csv",
    ),
    "finetune": ("--weights", "--epochs", "--set", "--layout", "masks/haemorrhage/eye1.png", "finetuned/model.pt"),
    "experiment": ("--dataset-dir", "--preset", "--row", "--layout", "--seeds", "published figures"),
    "demo": ("--out", "without any data"),
}


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # so that no option's name is cut
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(tinylesions, command):
    answer = tinylesions(command, "--help")
    assert answer.code == 0
    for word in COMMANDS[command]:
        assert word in answer.out


@pytest.mark.parametrize("command", ["predict", "finetune", "experiment", "demo"])
def test_help_names_all_bundles(tinylesions, command):
    text = tinylesions(command, "--help").out
    assert all(f"{name}:" in text for name in BUNDLES)


def test_help_names_all_commands(tinylesions):
    answer = tinylesions("--help")
    assert answer.code == 0
    assert all(f" {command} " in answer.out for command in COMMANDS)
    assert "tinylesions predict PHOTOS --out results" in answer.out


def test_version(tinylesions):
    assert tinylesions("--version").out == f"tinylesions {__version__}\n"


def test_help_loads_no_torch():
    code = (
        "import sys; from tinylesions.apps.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", code, "predict", "--help"], capture_output=True, text=True)
    assert answer.stderr.strip() == "False"


class TestErrors:
    def run(self, monkeypatch, work) -> None:
        monkeypatch.setattr(main_module, "app", work)
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        monkeypatch.setattr(logging.getLogger("tinylesions"), "handlers", [])
        main_module.main()

    def test_bad_input_behind_other_errors(self, monkeypatch, capsys):
        def work():
            try:
                raise InputError("[red]x.jpg is bad: repair it.")
            except InputError as error:
                raise RuntimeError("applying a transform") from error

        with pytest.raises(SystemExit) as exit_:
            self.run(monkeypatch, work)
        assert exit_.value.code == 2
        assert capsys.readouterr().err == "error: [red]x.jpg is bad: repair it.\n"

    def test_a_defect_is_a_traceback(self, monkeypatch):
        def work():
            raise KeyError("a defect")

        with pytest.raises(KeyError):
            self.run(monkeypatch, work)

    def test_warnings_are_sentences(self, monkeypatch, capsys):
        def work():
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.warn("[red]x.jpg is odd", stacklevel=1)
                warnings.warn("for developers", DeprecationWarning, stacklevel=1)
            logging.getLogger("tinylesions.transforms").warning("%s is odd", "[red]y.jpg")

        self.run(monkeypatch, work)
        assert capsys.readouterr().err == "warning: [red]x.jpg is odd\nwarning: [red]y.jpg is odd\n"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 photos"), (1, "1 photo"), (2, "2 photos"), (12345, "12,345 photos")]
)
def test_counted(number, text):
    assert counted(number, "photo") == text
