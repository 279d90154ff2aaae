"""Time and peak memory of a function, in a process of its own so that nothing else counts."""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Measurement", "alone"]


@dataclass(frozen=True)
class Measurement:
    """What a function returned, and the highest resident memory of its process in MiB."""

    value: Any
    peak_memory: float


def alone(function: Callable[..., Any], *args: Any) -> Measurement:
    """Run a module's function in a fresh process.

    The function times itself, so that starting the process and importing torch are not counted; its memory is that
    of the whole process, with about 300 MiB for torch and MONAI.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return Measurement(*pool.submit(_measured, function, args).result())


def _measured(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, float]:
    return function(*args), _peak_memory()


def _peak_memory() -> float:
    """Highest resident memory of this process in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose getrusage counts what the parent had, too
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
