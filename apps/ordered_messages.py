"""Messages about photos that are worked on side by side, said in the photos' order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from threading import Lock

from tqdm import tqdm

__all__ = ["OrderedMessages"]


class OrderedMessages:
    """Hold back what there is to say of a photo while an earlier one may still have something to say.

    All methods may be called from any thread.

    Args:
        say: takes each line for the user. A progress bar is out of its way while it is called.

    Example:
        >>> messages = OrderedMessages(print)
        >>> messages.add(1, "second photo: begun")
        >>> messages.add(0, "first photo: failed")
        first photo: failed
        >>> messages.close(0)
        second photo: begun
        >>> messages.add(1, "second photo: nearly there")
        second photo: nearly there
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = Lock()
        self._current = 0
        self._closed: set[int] = set()
        self._held: defaultdict[int, list[str]] = defaultdict(list)

    def add(self, photo: int, message: str) -> None:
        """Say a photo's message, now or when its turn comes; photos are counted from 0."""
        with self._lock:
            self._held[photo].append(message)
            self._flush()

    def close(self, photo: int) -> None:
        """Take note that a photo has nothing more to say."""
        with self._lock:
            self._closed.add(photo)
            self._flush()

    def _flush(self) -> None:
        self._say_held()
        while self._current in self._closed:
            self._current += 1
            self._say_held()

    def _say_held(self) -> None:
        for message in self._held.pop(self._current, []):
            with tqdm.external_write_mode():
                self._say(message)
