"""A copy from a GPU that the CPU does not wait for."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["start_copy"]


def start_copy(tensor: torch.Tensor, device: torch.device) -> Callable[[], torch.Tensor]:
    """Begin to copy a tensor to a device; the function that is returned waits for the copy and gives it.

    From a GPU to the CPU the copy goes to pinned memory, in the order of the GPU's work; the CPU is free meanwhile.
    """
    if tensor.device.type != "cuda" or device.type != "cpu":
        copied = tensor.to(device)
        return lambda: copied
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(tensor.device))

    def wait() -> torch.Tensor:
        done.synchronize()
        return pinned

    return wait
