"""Where commands print: results to the one, what is wrong to the other."""

from __future__ import annotations

from rich.console import Console

__all__ = ["console", "errors"]

console = Console(highlight=False, soft_wrap=True)
if not console.is_terminal:
    console.width = 120  # a table in a log file is not cut at 80 columns
errors = Console(stderr=True, highlight=False, soft_wrap=True)
