from __future__ import annotations

import json
import re
from functools import partial

import pytest
from torch import nn

from tinylesions.datasets.errors import InputError
from tinylesions.networks import build_network, describe_network, find_architecture, find_choice

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


def test_a_description_builds_the_network_again_whatever_the_defaults_are_by_then():
    types = {"linear": partial(nn.Linear, in_features=3), "identity": partial(nn.Identity)}
    description = json.loads(json.dumps(describe_network(types, "linear")))
    assert description == {"architecture": "linear", "arguments": {"in_features": 3}}
    later = {"linear": partial(nn.Linear, in_features=7, bias=False)}
    network = build_network(later, description, out_features=2)
    assert (network.in_features, network.out_features, network.bias) == (3, 2, None)
    network = build_network(later, {"architecture": "linear"}, out_features=2)
    assert network.in_features == 7
    with pytest.raises(InputError, match="there is no architecture 'identity': choose one of linear"):
        build_network(later, describe_network(types, "identity"))


def test_a_choice_of_another_kind():
    assert find_choice({"Adam": 1}, "Adam", "optimizer") == 1
    with pytest.raises(InputError, match=r"^there is no optimizer 'SGD': choose one of Adam\.$"):
        find_choice({"Adam": 1}, "SGD", "optimizer")
