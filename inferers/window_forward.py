"""Run a network on batches of windows: in its fastest form, and in smaller batches when memory runs out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tinylesions.inferers.network_preparation import prepare_network
from tinylesions.inferers.outputs import Outputs, by_key
from tinylesions.inferers.precision import autocast, resolve_precision

__all__ = ["WindowForward", "default_batch_size"]

logger = logging.getLogger(__name__)

BATCH_PIXELS = {"cpu": 12 * 64**2, "cuda": 256 * 64**2}
"""What the caches of a CPU hold, and what fills a GPU."""

_ALLOCATION_FAILED = ("DefaultCPUAllocator: ", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def default_batch_size(roi_size: Sequence[int], device: torch.device) -> int:
    """How many windows (h, w) a device runs best at a time."""
    return max(1, BATCH_PIXELS.get(device.type, BATCH_PIXELS["cpu"]) // math.prod(roi_size))


class WindowForward:
    """A network as a function of windows, prepared once for its device and precision.

    When memory runs out, the batch is halved, for this and all later calls; when it runs out for a single window, a
    module goes on on the CPU. Both are logged.

    Args:
        network: a module, or any callable, which is called as it is.
        device: where the network runs.
        precision: see :func:`~tinylesions.inferers.precision.resolve_precision`.
        compiled: pass the network through ``torch.compile``.
    """

    def __init__(
        self, network: Callable[..., Any], device: torch.device, precision: str = "auto", compiled: bool = False
    ) -> None:
        self.network = network
        self.precision = precision
        self.compiled = compiled
        self.largest_batch: int | None = None
        self._full_batch = 0
        self._use(device)

    def _use(self, device: torch.device) -> None:
        self.device = device
        self.dtype = resolve_precision(self.precision, device)
        self._function: Callable[..., Any] | None = None

    def _prepared(self, example: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
        function = self.network
        if isinstance(function, nn.Module):
            function = prepare_network(function, self.device, self.dtype, example, *args, **kwargs)
        return torch.compile(function) if self.compiled else function

    def __call__(self, windows: torch.Tensor, *args: Any, **kwargs: Any) -> Outputs:
        """Return the network's outputs for windows (N, C, h, w), by key: that of a dict, or the place in a tuple.

        Args:
            windows: on any device.
            args: given to the network.
            kwargs: given to the network.
        """
        pieces = []
        rest = windows
        while len(rest):
            batch = rest[: self.largest_batch]
            try:
                pieces.append(self._run(batch, args, kwargs))
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                problem = str(error).partition("\n")[0]
            else:
                rest = rest[len(batch) :]
                continue
            # outside of the except block, whose traceback holds on to the batch's tensors
            self._make_room(batch, problem)
        if len(pieces) == 1:
            return pieces[0]
        # on one device, since the network may have moved meanwhile
        return {key: torch.cat([piece[key].to(self.device) for piece in pieces]) for key in pieces[0]}

    def _run(self, windows: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outputs:
        windows = windows.contiguous(memory_format=torch.channels_last)
        if self.device.type == "cuda" and windows.device.type == "cpu":
            windows = windows.pin_memory()
        windows = windows.to(self.device, non_blocking=True)
        if self._function is None:
            self._function = self._prepared(windows[:1], args, kwargs)
        count = len(windows)
        if self.compiled:  # for a last batch that is not full the network would be compiled again
            self._full_batch = max(count, self._full_batch)
            windows = F.pad(windows, (0, 0) * 3 + (0, self._full_batch - count))
        with autocast(self.device, self.dtype):
            outputs = by_key(self._function(windows, *args, **kwargs))
        return {key: output[:count] for key, output in outputs.items()} if self.compiled else outputs

    def _make_room(self, windows: torch.Tensor, problem: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        batch = max(len(windows), self._full_batch)
        if batch > 1:
            self.largest_batch = batch // 2
            logger.warning(f"{problem}: going on with {self.largest_batch} windows at a time.")
        elif isinstance(self.network, nn.Module) and self.device.type != "cpu":
            logger.warning(f"{problem}: going on on the CPU.")
            self._use(torch.device("cpu"))
            self.largest_batch = default_batch_size(windows.shape[2:], self.device)
        else:
            raise RuntimeError(f"{problem}: memory does not suffice for a single window.")
        self._full_batch = 0


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _ALLOCATION_FAILED)
