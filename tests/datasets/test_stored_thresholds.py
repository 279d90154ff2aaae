from __future__ import annotations

import json

import pytest

from tinylesions.datasets import InputError, load_training_record, record_training
from tinylesions.datasets.stored_thresholds import store_thresholds

NETWORK = {"architecture": "unet", "arguments": {"widths": [4, 8]}}


def test_thresholds_are_added_and_replaced(tmp_path):
    record_training(tmp_path, "model", NETWORK, lesions=["drusen", "œdème"])
    assert load_training_record(tmp_path, thresholds=None)["thresholds"] is None
    store_thresholds(tmp_path, {"drusen": 0.25, "œdème": 0.5})
    (tmp_path / "model.pt").touch()
    store_thresholds(str(tmp_path / "model.pt"), {"drusen": 0.125})
    record = {"lesions": ["drusen", "œdème"], "networks": {"model": NETWORK}, "thresholds": {"drusen": 0.125}}
    record["sha256"] = {"model.pt": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}  # of no bytes
    assert load_training_record(tmp_path, thresholds=None) == record
    assert json.loads((tmp_path / "training.json").read_text(encoding="utf-8")) == record
    assert {path.name for path in tmp_path.iterdir()} == {"training.json", "model.pt"}


def test_other_weights_beside_them_are_refused(tmp_path):
    record_training(tmp_path, "model", NETWORK)
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"chosen on these")
    (tmp_path / "checkpoint.pt").write_bytes(b"may change")
    store_thresholds(weights, {"drusen": 0.25})
    (tmp_path / "checkpoint.pt").write_bytes(b"has changed")
    assert load_training_record(weights)["thresholds"] == {"drusen": 0.25}
    weights.write_bytes(b"and these are others")
    with pytest.raises(InputError, match="is not the file that training"):
        load_training_record(weights)
    store_thresholds(weights, {"drusen": 0.5})
    assert load_training_record(weights)["thresholds"] == {"drusen": 0.5}


def test_a_training_that_goes_on_forgets_them(tmp_path):
    record_training(tmp_path, "model", NETWORK)
    (tmp_path / "model.pt").touch()
    store_thresholds(tmp_path, {"drusen": 0.25})
    record_training(tmp_path, "model", NETWORK)
    assert "thresholds" not in load_training_record(tmp_path)


@pytest.mark.parametrize("thresholds", [{}, {"drusen": 0.0}, {"drusen": 1.0}, {"drusen": float("nan")}])
def test_what_is_no_threshold_is_refused(tmp_path, thresholds):
    record_training(tmp_path, "model", NETWORK)
    before = (tmp_path / "training.json").read_bytes()
    with pytest.raises(ValueError, match="above 0 and below 1"):
        store_thresholds(tmp_path, thresholds)
    assert (tmp_path / "training.json").read_bytes() == before


def test_without_a_record(tmp_path):
    with pytest.raises(InputError) as raised:
        store_thresholds(tmp_path, {"drusen": 0.5})
    path = tmp_path / "training.json"
    assert str(raised.value) == f"there is no {path}: train first, or name the folder of trained weights."
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="is no record of a training"):
        store_thresholds(tmp_path, {"drusen": 0.5})
