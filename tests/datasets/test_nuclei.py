"""The names of networks and classes are put in order, or refused with what is wrong."""

from __future__ import annotations

from itertools import permutations

import pytest

from tinylesions.datasets import (
    BINARY_CLASSES,
    CONIC_CLASSES,
    MODELS,
    MONUSAC_CLASSES,
    RESULTS,
    InputError,
    checked_class_names,
    nuclei_models,
)


def test_the_words_that_name_files_and_scores():
    assert MODELS == ("multi_class", "binary")
    assert RESULTS == ("multi_class", "binary", "combined")
    assert BINARY_CLASSES == ("background", "foreground")


def test_models_in_the_order_of_their_channels():
    for names in permutations(MODELS):
        assert nuclei_models(names) == list(MODELS)
    for name in MODELS:
        assert nuclei_models(name) == nuclei_models([name]) == nuclei_models((name, name)) == [name]


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ([], "no network is named"),
        ("", "there is no network ''"),
        ("combined", "there is no network 'combined'"),
        (["binary", "multiclass"], "there is no network 'multiclass'"),
        ("multi_class,binary", "there is no network 'multi_class,binary'"),
    ],
)
def test_models_that_there_are_not(names, fault):
    with pytest.raises(InputError, match=f"^models: {fault}; choose multi_class or binary, or both\\.$"):
        nuclei_models(names)


@pytest.mark.parametrize("names", [CONIC_CLASSES, MONUSAC_CLASSES, ["background", "nucleus"]])
def test_class_names_as_they_were_given(names):
    assert checked_class_names(names) == list(names)


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ("background,plasma", "'background,plasma' is no list"),
        (None, "None is no list"),
        ({"background": 0, "a": 1}, r"\{.*\} is no list"),
        ([], r"\[\] holds fewer than two names"),
        (["background"], r"\['background'\] holds fewer than two names"),
        (["background", ""], "'' is no name"),
        (["background", " "], "' ' is no name"),
        (["background", 3], "3 is no name"),
        (["background", "a", "a"], "'a' is there twice"),
        (["background", "Plasma", "plasma"], "'plasma' is there twice"),
        (["background", "mean"], "'mean' already names a score"),
        (BINARY_CLASSES, "'foreground' already names a score"),
    ],
)
def test_class_names_that_are_refused(names, fault):
    with pytest.raises(InputError, match=rf"^class_names: {fault}; give a list of different names, .* for example\.$"):
        checked_class_names(names)
