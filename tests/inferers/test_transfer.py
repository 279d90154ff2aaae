from __future__ import annotations

import pytest
import torch

from tinylesions.inferers.transfer import start_copy

CPU = torch.device("cpu")


def test_on_one_device_nothing_is_copied():
    tensor = torch.rand(2, 3)
    assert start_copy(tensor, CPU)() is tensor


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_copy_from_the_gpu_arrives_whole():
    tensors = [torch.rand(64, 3, 64, 64, device="cuda").contiguous(memory_format=torch.channels_last) for _ in range(4)]
    arriving = [start_copy(tensor, CPU) for tensor in tensors]
    for wait, tensor in zip(arriving, tensors, strict=True):
        assert wait().is_pinned()
        assert torch.equal(wait(), tensor.cpu())


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs")
def test_a_copy_from_a_gpu_other_than_the_current_is_waited_for():
    with torch.cuda.device(1):
        big = torch.rand(4096, 4096, device="cuda:1")
        for _ in range(20):
            big = (big @ big).tanh()
    with torch.cuda.device(0):
        assert torch.equal(start_copy(big, CPU)(), big.cpu())
