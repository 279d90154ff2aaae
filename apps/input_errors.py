"""The bad input behind an error, through the wrapping of what MONAI's transforms and configs raise."""

from __future__ import annotations

from tinylesions.datasets import InputError

__all__ = ["find_input_error"]


def find_input_error(error: BaseException | None) -> InputError | None:
    """Return the `InputError` that an error is or came from, or None."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error
