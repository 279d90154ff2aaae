"""Probabilities of one head and of several against torch's own softmax."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from tinylesions.transforms import SoftmaxHeadsd

CLASSES = 6


def logits_of(heads: int, spread: float = 5.0) -> torch.Tensor:
    return torch.randn(heads * CLASSES, 7, 9, generator=torch.Generator().manual_seed(heads)) * spread


@pytest.mark.parametrize("heads", [1, 4])
def test_softmax_of_each_head(heads):
    logits = logits_of(heads)
    found = SoftmaxHeadsd("pred", CLASSES)({"pred": MetaTensor(logits)})["pred"].as_tensor()
    expected = torch.softmax(logits.view(heads, CLASSES, 7, 9), dim=1)
    torch.testing.assert_close(found.view(heads, CLASSES, 7, 9), expected, rtol=0, atol=0)
    torch.testing.assert_close(found.view(heads, CLASSES, 7, 9).sum(1), torch.ones(heads, 7, 9))


@pytest.mark.parametrize("heads", [1, 4])
def test_chosen_channels_keep_their_order(heads):
    logits = logits_of(heads)
    channels = [4, 1, 2]
    found = SoftmaxHeadsd("pred", CLASSES, channels)({"pred": logits})["pred"]
    expected = torch.cat([torch.softmax(head, 0)[channels] for head in logits.chunk(heads)])
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_logits_give_float32(dtype):
    logits = logits_of(1).to(dtype)
    found = SoftmaxHeadsd("pred", CLASSES)({"pred": logits})["pred"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(0), torch.ones(7, 9))


def test_extreme_logits_are_finite():
    found = SoftmaxHeadsd("pred", CLASSES)({"pred": logits_of(1, spread=1e4)})["pred"]
    assert found.isfinite().all()


def test_metadata_stays_and_input_is_left():
    logits = MetaTensor(logits_of(4), meta={"filename_or_obj": "eye.jpg"})
    data = {"pred": logits, "id": "eye"}
    result = SoftmaxHeadsd("pred", CLASSES, [1])(data)
    assert result["pred"].meta["filename_or_obj"] == "eye.jpg"
    assert result["id"] == "eye"
    assert data["pred"] is logits


def test_wrong_number_of_channels():
    with pytest.raises(ValueError, match="7 channels of pred"):
        SoftmaxHeadsd("pred", CLASSES)({"pred": torch.zeros(7, 2, 2)})
