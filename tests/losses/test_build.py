from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from tinylesions.datasets import InputError
from tinylesions.losses import build_loss

TYPES = {"absolute": nn.L1Loss, "squared": partial(nn.MSELoss, reduction="sum"), "smooth": nn.SmoothL1Loss}


def test_sum_of_the_named_losses():
    input, target = torch.tensor([[1.0, 5.0]]), torch.tensor([[0.0, 2.0]])
    assert build_loss(TYPES, ["squared", "absolute"])(input, target).item() == pytest.approx((1 + 9) + (1 + 3) / 2)
    assert build_loss(TYPES, "absolute")(input, target).item() == pytest.approx(2)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["absolute", "dcie"], "there is no loss 'dcie': choose one or several of absolute, squared, smooth."),
        (
            [],
            "losses are one or several of absolute, squared, smooth, each once, not [].",
        ),
        (
            ["squared", "squared"],
            "losses are one or several of absolute, squared, smooth, each once, not ['squared', 'squared'].",
        ),
    ],
)
def test_names_that_cannot_be(names, sentence):
    with pytest.raises(InputError) as raised:
        build_loss(TYPES, names)
    assert str(raised.value) == sentence
