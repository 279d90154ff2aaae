"""The error every part raises for bad input."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """Bad input from the user: one sentence that names the file, what is wrong with it and what to do.

    The command line prints the sentence and exits with code 2. Everything else that is raised is a defect.
    """
