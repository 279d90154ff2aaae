from __future__ import annotations

import json
import warnings

import pytest

from tinylesions.datasets import CONIC_CLASSES, InputError, load_class_names, save_class_names

NAMES = ["background", "other", "inflammatory", "épithélial"]


def test_what_was_saved_is_found_from_the_folder_and_from_a_file_in_it(tmp_path):
    folder = tmp_path / "models"
    save_class_names(NAMES, folder)
    assert json.loads((folder / "classes.json").read_text(encoding="utf-8")) == NAMES
    assert load_class_names(folder) == load_class_names(str(folder / "multi_class.pt")) == NAMES
    assert [path.name for path in folder.iterdir()] == ["classes.json"]


def test_without_a_file_the_classes_are_conic_s_and_weights_warn(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_class_names(tmp_path) == load_class_names(tmp_path / "not" / "there") == list(CONIC_CLASSES)
    (tmp_path / "binary.pt").touch()
    with pytest.warns(UserWarning, match=r"has no classes\.json: the classes are taken to be CoNIC's"):
        assert load_class_names(tmp_path / "binary.pt") == list(CONIC_CLASSES)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('["background", "epi', "cannot be read as JSON"),
        ('{"background": 0}', "is no list of two names or more, each once"),
        ('["background"]', "is no list of two names or more, each once"),
        ('["background", "plasma", "plasma"]', "is no list of two names or more, each once"),
        ('["background", 3]', "is no list of two names or more, each once"),
    ],
)
def test_a_file_that_is_no_list_of_names(tmp_path, text, what):
    path = tmp_path / "classes.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        load_class_names(tmp_path)
    assert str(raised.value) == f"{path} {what}: copy it again from where the weights are."
