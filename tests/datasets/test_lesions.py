"""The known names of the lesions and their codes."""

from __future__ import annotations

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
