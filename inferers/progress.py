"""How far an inference is, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable

from tqdm import tqdm

from tinylesions.inferers.window_plan import WindowPlan

__all__ = ["WindowProgress"]

MEASURED_SECONDS = 1.0
"""An estimate is made from the windows of this time, the first batch, which warms up, left out."""


class WindowProgress:
    """A bar over the windows of a plan, and one estimate of the time that all of them take.

    Args:
        plan: the windows.
        show: show the bar.
        on_estimate: called once with the seconds, where the inference takes longer than the estimate itself.
    """

    def __init__(self, plan: WindowPlan, show: bool, on_estimate: Callable[[float], None] | None) -> None:
        self.total = plan.windows
        description = f"{plan.skipped} windows skipped" if plan.skipped else None
        self.bar = tqdm(total=self.total, desc=description, unit="window", disable=not show, leave=False)
        self.on_estimate = on_estimate
        self._done = 0
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> WindowProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def update(self, windows: int) -> None:
        """Count windows as done."""
        self.bar.update(windows)
        self._done += windows
        if self.on_estimate is None:
            return
        now = time.perf_counter()
        if self._first is None:
            self._first = (now, self._done)
        elif now - self._first[0] >= MEASURED_SECONDS:
            self.on_estimate((now - self._first[0]) / (self._done - self._first[1]) * self.total)
            self.on_estimate = None
