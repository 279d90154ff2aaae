"""Batches of both tasks as the network and the loss take them."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor

from tinylesions.handlers import PrepareTasks

from .tasks import items


def batch_of(weights: list[tuple[float, float]]) -> dict:
    data = items(weights)
    for item in data:
        item["image"], item["label"] = MetaTensor(item["image"]), MetaTensor(item["label"])
    return next(iter(DataLoader(Dataset(data), batch_size=len(data))))


def test_targets_are_plain_tensors():
    batch = batch_of([(1, 1), (0, 0.5)])
    image, targets = PrepareTasks()(batch, "cpu")
    torch.testing.assert_close(image, batch["image"].as_tensor(), rtol=0, atol=0)
    torch.testing.assert_close(targets["segmentation"], batch["label"].as_tensor(), rtol=0, atol=0)
    assert {type(tensor) for tensor in (image, *targets.values())} == {torch.Tensor}
    assert targets.keys() == {"grade", "grade_weight", "segmentation", "segmentation_weight"}
    assert targets["grade"].tolist() == batch["grade"].tolist()
    assert targets["grade"][1] == -1
    assert targets["grade_weight"].tolist() == [1, 0]
    assert targets["segmentation_weight"].tolist() == [1, 0.5]
    types = {name: target.dtype for name, target in targets.items()}
    weight = torch.float32
    assert types == {
        "grade": torch.int64,
        "grade_weight": weight,
        "segmentation": torch.uint8,
        "segmentation_weight": weight,
    }


def test_device_and_memory_format():
    """The meta device tells what was moved, also on a machine without an accelerator."""
    batch = batch_of([(1, 1)] * 2)
    image, targets = PrepareTasks()(batch, "meta", non_blocking=True)
    assert {tensor.device.type for tensor in (image, *targets.values())} == {"meta"}
    image, _ = PrepareTasks()(batch, memory_format=torch.channels_last)
    assert image.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("missing", ["grade", "label_weight"])
def test_batch_of_one_task(missing):
    batch = batch_of([(1, 1)])
    del batch[missing]
    with pytest.raises(KeyError, match=missing):
        PrepareTasks()(batch)
