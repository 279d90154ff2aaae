"""Known names belong to families, other words for them are understood, and names of one's own can name results."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import PureWindowsPath

import pytest

from tinylesions.datasets.lesion_names import lesion_family, lesion_of_name, name_fault
from tinylesions.datasets.lesions import ALL_LESIONS, LESION_CODES, LESIONS, OCTA_LESIONS
from tinylesions.transforms.names import output_name


@pytest.mark.parametrize("family", [LESIONS, OCTA_LESIONS])
def test_family_of_every_choice(family):
    for count in range(1, len(family) + 1):
        for names in combinations(reversed(family), count):
            assert lesion_family(names) == family
            assert lesion_family(iter(names)) == family


def test_no_name_is_of_a_fundus_photo():
    assert lesion_family([]) == LESIONS


def test_families_do_not_mix():
    for names in product(LESIONS, OCTA_LESIONS):
        for more in ((), ("drusen",)):
            with pytest.raises(ValueError, match=f"some of microaneurysm, .*{names[0]}.*{names[1]}"):
                lesion_family((*names, *more))


def test_names_of_ones_own_come_after_the_family():
    assert lesion_family(["drusen", "haemorrhage", "atrophy", "drusen"]) == (*LESIONS, "drusen", "atrophy")
    assert lesion_family(["optic_disc", *OCTA_LESIONS]) == (*OCTA_LESIONS, "optic_disc")
    assert lesion_family(["drusen"]) == (*LESIONS, "drusen")


@pytest.mark.parametrize("names", [["hemorrhage"], ["NV"], [*OCTA_LESIONS, "other"], ["drusen", "Drusen"], [None]])
def test_a_name_that_no_lesion_can_have_is_of_no_family(names):
    with pytest.raises(ValueError, match=f"got .*; {names[-1]!r} is "):
        lesion_family(names)


@pytest.mark.parametrize(
    ("lesion", "words"),
    [
        ("microaneurysm", "MA ma microaneurysms Microaneurysm MICROANEURYSMS"),
        ("haemorrhage", "HE He haemorrhages hemorrhage hemorrhages Hemorrhages"),
        ("hard_exudate", "EX hard_exudates hard-exudates Hard-Exudate"),
        ("soft_exudate", "SE soft_exudates cotton_wool_spot cotton-wool-spots Cotton_Wool_Spots"),
    ],
)
def test_other_words_for_a_lesion(lesion, words):
    for word in [lesion, lesion.replace("_", " "), *words.split()]:
        assert lesion_of_name(word) == lesion
        # only a folder's name is changed: in a config or a datalist it is a slip of the pen
        assert (name_fault(word) == "") == (word == lesion)
        assert word == lesion or lesion in name_fault(word)
    assert {lesion_of_name(code) for code in LESION_CODES.values()} == set(LESIONS)


@pytest.mark.parametrize("word", ["exudates", "drusen", "Drusen", "vessel", "mas", "red lesions", ""])
def test_words_that_say_nothing_sure_stay(word):
    assert lesion_of_name(word) == word


@pytest.mark.parametrize("name", [*ALL_LESIONS, "drusen", "a", "7", "type-2_scar", "x" * 40, "exudates", "masks"])
def test_names_that_a_lesion_can_have(name):
    assert name_fault(name) == ""
    assert output_name(name) == PureWindowsPath(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", "Drusen", "drüsen", "_drusen", "-drusen", ".drusen", "a b", "a/b", "a.b", "x" * 41, "drusen\n", "a,b", "%s"],
)
def test_names_that_are_no_names(name):
    assert "40 lower-case letters" in name_fault(name)


@pytest.mark.parametrize(
    "name",
    [
        "overlay",
        "label_map",
        "photo",
        "lesions",
        "summary",
        "grade_evidence",
        "drusen_mask",
        "other",
        "black_background",
        "id",
        "mean",
        "split",
        "problem",
        "con",
        "nul",
        "com1",
    ],
)
def test_names_of_something_else(name):
    assert "something else in the results" in name_fault(name)
