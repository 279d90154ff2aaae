from __future__ import annotations

import pytest

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import LESIONS, OCTA_LESIONS
from tinylesions.transforms.names import checked_lesions, output_name


def test_lesions():
    assert checked_lesions(["haemorrhage", "microaneurysm"]) == ("haemorrhage", "microaneurysm")
    assert checked_lesions(LESIONS) == LESIONS
    assert checked_lesions("haemorrhage") == ("haemorrhage",)
    assert checked_lesions(OCTA_LESIONS[::-1]) == OCTA_LESIONS[::-1]
    assert checked_lesions("neovascularisation") == ("neovascularisation",)
    assert checked_lesions(["drusen", "haemorrhage"]) == ("drusen", "haemorrhage")


@pytest.mark.parametrize("lesions", [[], ["hemorrhage"], ["haemorrhage", "haemorrhage"], ["other"], ["drusen"] * 2])
def test_bad_lesions(lesions):
    with pytest.raises(ValueError, match="microaneurysm, haemorrhage, hard_exudate, soft_exudate"):
        checked_lesions(lesions)


@pytest.mark.parametrize(
    "lesions",
    [["neovascularisation", "haemorrhage"], ["neovascularization"], ["NV"], ["nonperfusion_area"] * 2],
)
def test_bad_lesions_of_octa_images(lesions):
    with pytest.raises(ValueError, match=", ".join(OCTA_LESIONS)):
        checked_lesions(lesions)


def test_names():
    assert output_name(7) == "7"
    assert output_name("IDRiD_01") == "IDRiD_01"
    for name in ("../eye", "a\\b", "C:eye", ""):
        with pytest.raises(InputError, match="cannot name"):
            output_name(name)
