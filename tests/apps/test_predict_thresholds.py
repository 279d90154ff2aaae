"""`tinylesions predict` with weights that have a threshold for each lesion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.bundle import ConfigParser

from tinylesions.apps.thresholds import lay_over_thresholds, parse_thresholds
from tinylesions.datasets import InputError, store_thresholds

from .conftest import Answer
from .light import read_image, save_light_weights

LESIONS = ["haemorrhage", "drusen"]


@pytest.fixture
def light_weights(tmp_path) -> Path:
    return save_light_weights(tmp_path / "light", LESIONS, {"haemorrhage": 0.4, "drusen": 0.6}, seed=4)


@pytest.fixture
def run(tinylesions, light_weights, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def predict(*arguments: object) -> Answer:
        return tinylesions("predict", photo, "--weights", light_weights, *arguments)

    return predict


def settings(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "results" / "run.json").read_text(encoding="utf-8"))["settings"]


def check_masks(tmp_path: Path, thresholds: dict[str, float]) -> None:
    for lesion, threshold in thresholds.items():
        probability = read_image(tmp_path / "results" / "IDRiD_01" / f"{lesion}.png") / 65535
        mask = read_image(tmp_path / "results" / "IDRiD_01" / f"{lesion}_mask.png") > 0
        # nothing is found outside the field of view, whose probabilities are written too
        assert 0 < mask.sum() < mask.size
        assert probability[mask].min() >= threshold - 1e-5
        middle = tuple(slice(side // 3, -side // 3) for side in mask.shape)
        clear = abs(probability - threshold)[middle] > 1e-5  # 16 bits do not tell on which side the others are
        np.testing.assert_array_equal(mask[middle][clear], (probability >= threshold)[middle][clear])


def test_where_they_come_from(run, light_weights, tmp_path):
    """From the record, from the user, and from a record that has changed; each is predicted anew."""
    answer = run()
    assert (answer.code, answer.err) == (0, "")
    words = "1 photo: each as a whole, the longer side 128 px, the mean of 2 mirror images"
    assert answer.out.splitlines()[0] == words
    assert answer.out.splitlines()[-1] == "1 photo predicted: see results"
    check_masks(tmp_path, {"haemorrhage": 0.4, "drusen": 0.6})
    assert settings(tmp_path)["thresholds"] == {"haemorrhage": 0.4, "drusen": 0.6}
    assert "1 photo predicted: see" in run("--threshold", "HE=0.55").out
    check_masks(tmp_path, {"haemorrhage": 0.55, "drusen": 0.6})
    assert "0 photos predicted, 1 already done" in run("--threshold", "haemorrhage=0.55").out
    store_thresholds(light_weights, {"haemorrhage": 0.5, "drusen": 0.6})
    assert "1 photo predicted: see" in run().out
    check_masks(tmp_path, {"haemorrhage": 0.5, "drusen": 0.6})


def test_weights_without_thresholds():
    parser = ConfigParser({"lesions": LESIONS, "thresholds": None, "softmax": False})
    lay_over_thresholds(parser, {"drusen": 0.6})
    assert parser.get_parsed_content("thresholds") == {"haemorrhage": 0.5, "drusen": 0.6}


class TestRefused:
    @pytest.mark.parametrize("option", [("--overlap", "0.25"), ("--fast",)])
    def test_windows(self, run, tmp_path, option):
        assert run(*option).problem.startswith(f"{option[0]} is for bundles that cut photos into windows")
        assert not (tmp_path / "results").exists()

    def test_unknown_lesion(self, run, tmp_path):
        problem = run("--threshold", "soft_exudate=0.5").problem
        assert problem == (
            "--threshold soft_exudate: the weights look for no such lesion, choose one of haemorrhage, drusen."
        )
        assert not (tmp_path / "results").exists()

    def test_the_paper_s_weights(self, predict, photo, tmp_path):
        problem = predict(photo, "--threshold", "haemorrhage=0.5").problem
        assert problem == (
            "--threshold is for weights with a threshold for each lesion, and these have none: leave it out."
        )
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("texts", [["MA"], ["MA="], ["=0.5"], ["MA=0"], ["MA=1"], ["MA=nan"], ["MA=0.2", "MA=0.3"]])
    def test_words(self, texts):
        with pytest.raises(InputError, match=r"^--threshold .*: (give a lesion and a number|it is given twice)"):
            parse_thresholds(texts)


def test_several_words():
    assert parse_thresholds([" HE = 0.25", "drusen=0.5"]) == {"haemorrhage": 0.25, "drusen": 0.5}
