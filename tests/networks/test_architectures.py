from __future__ import annotations

import re

import pytest
from torch import nn

from tinylesions.datasets.errors import InputError
from tinylesions.networks import find_architecture

TYPES = {"pointwise": lambda: nn.Conv2d(1, 1, 1), "identity": nn.Identity}


def test_each_name_builds_its_own_network():
    assert isinstance(find_architecture(TYPES, "identity")(), nn.Identity)
    network = find_architecture(TYPES, "pointwise")
    assert isinstance(network(), nn.Conv2d)
    assert network() is not network(), "two lesions have two networks"


@pytest.mark.parametrize("name", ["nnunet", "Identity", ""])
def test_an_unknown_name_is_told_those_there_are(name):
    sentence = f"there is no architecture {name!r}: choose one of pointwise, identity."
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        find_architecture(TYPES, name)
