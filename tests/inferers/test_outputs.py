from __future__ import annotations

import pytest
import torch

from tinylesions.inferers.outputs import as_given, by_key

A, B = torch.zeros(1), torch.ones(1)


@pytest.mark.parametrize(
    ("output", "expected"),
    [(A, A), ((A, B), (A, B)), ([A, B], (A, B)), ((A,), A), ({"x": A, "y": B}, {"x": A, "y": B}), ({0: A}, {0: A})],
    ids=["tensor", "tuple", "list", "tuple of one", "dict", "dict of numbers"],
)
def test_outputs_come_back_as_they_were_given(output, expected):
    found = as_given(by_key(output))
    assert type(found) is type(expected)
    assert found is expected or found == expected
