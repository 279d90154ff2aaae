from __future__ import annotations

import json
import warnings

import pytest

from tinylesions.datasets import InputError, load_training_record, record_training

SHARED = {"class_names": ["background", "épithélial"], "test_share": 0.1, "spatial_size": (-1, -1)}
UNET = {"architecture": "unet", "arguments": {"widths": [4, 8]}}
DEEPLAB = {"architecture": "deeplabv3_plus", "arguments": {"backbone": "resnet10"}}


@pytest.fixture
def folder(tmp_path):
    record_training(tmp_path / "models", "multi_class", UNET, **SHARED)
    (tmp_path / "models" / "multi_class_checkpoint.pt").touch()
    return tmp_path / "models"


def test_what_was_recorded_is_found_from_the_folder_and_from_a_file_in_it(folder):
    record_training(folder, "binary", DEEPLAB, **SHARED)
    expected = {**SHARED, "spatial_size": [-1, -1], "networks": {"multi_class": UNET, "binary": DEEPLAB}}
    assert load_training_record(folder) == load_training_record(str(folder / "binary.pt")) == expected
    assert load_training_record(folder, test_share=0.5, layout="conic") == {"layout": "conic", **expected}
    assert {path.name for path in folder.iterdir()} == {"training.json", "multi_class_checkpoint.pt"}
    assert json.loads((folder / "training.json").read_text(encoding="utf-8")) == expected


def test_the_same_training_goes_on(folder):
    before = (folder / "training.json").read_bytes()
    record_training(folder, "multi_class", UNET, **SHARED)
    assert (folder / "training.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "network", "changed", "resume", "what"),
    [
        ("multi_class", UNET, {"class_names": ["background", "plasma"]}, True, "class_names"),
        ("multi_class", UNET, {"test_share": 0.2, "spatial_size": [8, 8]}, True, "test_share and spatial_size"),
        ("multi_class", DEEPLAB, {}, True, "multi_class network"),
        ("binary", DEEPLAB, {"test_share": 0}, True, "test_share"),
        ("binary", DEEPLAB, {"test_share": 0}, False, "test_share"),
    ],
)
def test_another_training_is_refused(folder, name, network, changed, resume, what):
    before = (folder / "training.json").read_bytes()
    with pytest.raises(InputError) as raised:
        record_training(folder, name, network, resume=resume, **{**SHARED, **changed})
    sentence = f"{folder} holds weights trained with another {what}: train with the same, or name another folder."
    assert str(raised.value) == sentence
    assert (folder / "training.json").read_bytes() == before


def test_a_training_that_left_no_weights_is_no_obstacle(folder):
    (folder / "multi_class_checkpoint.pt").unlink()
    changed = {**SHARED, "class_names": ["background", "plasma"]}
    record_training(folder, "multi_class", DEEPLAB, **changed)
    expected = {**changed, "spatial_size": [-1, -1], "networks": {"multi_class": DEEPLAB}}
    assert load_training_record(folder) == expected


def test_a_training_from_anew_replaces_its_own_record(folder):
    record_training(folder, "multi_class", DEEPLAB, resume=False, **{**SHARED, "test_share": 0.2})
    found = load_training_record(folder)
    assert (found["test_share"], found["networks"]) == (0.2, {"multi_class": DEEPLAB})
    record_training(folder, "binary", UNET, **{**SHARED, "test_share": 0.2})
    (folder / "binary.pt").touch()
    record_training(folder, "binary", DEEPLAB, resume=False, **{**SHARED, "test_share": 0.2})
    assert load_training_record(folder)["networks"] == {"multi_class": DEEPLAB, "binary": DEEPLAB}


def test_without_a_record_there_are_defaults_and_weights_warn(tmp_path):
    expected = {"class_names": ["a", "b"], "test_share": 0.1, "networks": {}}
    defaults = {"class_names": ["a", "b"], "test_share": 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_training_record(tmp_path, **defaults) == expected
        assert load_training_record(tmp_path / "not" / "there", **defaults) == expected
    (tmp_path / "binary.pt").touch()
    with pytest.warns(UserWarning, match=r"has no training\.json: class_names, test_share are taken to be the usual"):
        assert load_training_record(tmp_path / "binary.pt", **defaults) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"networks": {', "cannot be read as JSON"),
        ("[]", "is no record of a training"),
        ("{}", "is no record of a training"),
        ('{"networks": ["unet"]}', "is no record of a training"),
        ('{"networks": {"binary": "unet"}}', "is no record of a training"),
    ],
)
def test_a_file_that_is_no_record(tmp_path, text, what):
    path = tmp_path / "training.json"
    path.write_text(text, encoding="utf-8")
    for read in (load_training_record, lambda folder: record_training(folder, "binary", UNET)):
        with pytest.raises(InputError) as raised:
            read(tmp_path)
        assert str(raised.value) == f"{path} {what}: copy it again from where the weights are."
