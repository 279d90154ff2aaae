"""The names of the lesions, their codes and families."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import (
    ALL_LESIONS,
    CLASSES,
    LESION_CODES,
    LESIONS,
    OCTA_LESION_CODES,
    OCTA_LESIONS,
    OVERLAP_PRIORITY,
    find_octa_lesion,
    lesion_family,
)


def test_orders_agree():
    assert tuple(LESION_CODES) == LESIONS
    assert tuple(OCTA_LESION_CODES) == OCTA_LESIONS
    assert list(OCTA_LESION_CODES.values()) == ["IRMA", "NPA", "NV"]  # the numbers 1 to 3 of DRAC2022's folders
    assert ALL_LESIONS == LESIONS + OCTA_LESIONS
    assert CLASSES[1:-1] == LESIONS
    assert sorted(OVERLAP_PRIORITY) == sorted(LESIONS)


def test_no_name_or_code_is_of_two_lesions():
    codes = [*LESION_CODES.values(), *OCTA_LESION_CODES.values()]
    assert len({*ALL_LESIONS, *codes}) == 14


@pytest.mark.parametrize(
    ("code", "lesion"),
    [("IRMA", "intraretinal_microvascular_abnormality"), ("NPA", "nonperfusion_area"), ("NV", "neovascularisation")],
)
def test_octa_lesions_are_found_by_their_codes(code, lesion):
    assert find_octa_lesion(code) == lesion


@pytest.mark.parametrize("code", ["MA", "irma", "nonperfusion_area", "", " NV"])
def test_an_unknown_code_is_named_with_those_there_are(code):
    sentence = f"^there is no lesion '{code}' in OCTA images: choose one of IRMA, NPA, NV.$"
    with pytest.raises(InputError, match=sentence):
        find_octa_lesion(code)


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
        with pytest.raises(ValueError, match=f"some of microaneurysm, .*{names[0]}.*{names[1]}"):
            lesion_family(names)


@pytest.mark.parametrize("names", [["drusen"], ["NV"], [*OCTA_LESIONS, "optic_disc"]])
def test_an_unknown_name_is_of_no_family(names):
    with pytest.raises(ValueError, match=f"got .*{names[-1]}"):
        lesion_family(names)
