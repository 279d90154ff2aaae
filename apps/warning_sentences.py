"""Warnings shown to a user: a sentence each, in one piece between the lines of progress bars."""

from __future__ import annotations

import logging
import warnings

from rich.console import Console

__all__ = ["show_warnings_as_sentences"]


def show_warnings_as_sentences(console: Console) -> None:
    """Show from now on what this project warns of and logs; libraries' notes are for developers and are not shown."""

    def show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if category is UserWarning:  # a plain one
            _warn(console, str(message))

    warnings.showwarning = show_warning
    logging.getLogger("tinylesions").addHandler(_Sentences(console))


class _Sentences(logging.Handler):
    """Shows what this project logs, by default from warnings on, as a sentence."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        _warn(self.console, record.getMessage())


def _warn(console: Console, sentence: str) -> None:
    from tqdm import tqdm  # here, so that --help answers at once

    with tqdm.external_write_mode():  # not into a progress bar, nor into another thread's sentence
        console.print("[yellow]warning:[/yellow]", end=" ")
        console.print(sentence, markup=False)
