"""Words of what the command line says."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """Return the number with its noun.

    Example:
        >>> counted(1, "photo"), counted(1200, "window")
        ('1 photo', '1,200 windows')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
