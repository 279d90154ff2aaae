"""Photos in flight: one is in the network while others are read and written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

__all__ = ["run_in_flight"]

Photo = TypeVar("Photo")
Loaded = TypeVar("Loaded")
Result = TypeVar("Result")


def run_in_flight(
    photos: Iterable[Photo],
    load: Callable[[Photo], Loaded],
    infer: Callable[[Photo, Loaded], Result],
    write: Callable[[Photo, Result], None],
    settle: Callable[[Photo, Exception | None], None],
    workers: int = 1,
) -> None:
    """Load, infer and write photos, each step in the photos' order, with the steps of several photos side by side.

    `infer` and `settle` run in the calling thread, `load` and `write` in threads of their own. At most
    ``2 * workers + 1`` photos are held at a time: `workers` that are loaded or wait for the network, one in it, and
    `workers` that are written. Ctrl-C, or what `settle` raises, ends the run as soon as the photos that are being
    written are whole.

    Args:
        photos: what the steps are given; not consumed faster than photos are loaded.
        load: gives what `infer` needs.
        infer: gives what `write` needs.
        write: writes the result; its photo is done when it returns.
        settle: called once for each photo, in their order, with the error of a step or None. It may raise it.
        workers: threads that load, and as many that write.
    """
    rest = iter(photos)
    loading: deque[tuple[Photo, Future[Loaded]]] = deque()
    writing: deque[tuple[Photo, Future[None]]] = deque()

    def load_next(count: int = 1) -> None:
        loading.extend((photo, loaders.submit(load, photo)) for photo in islice(rest, count))

    def settle_until(left: int) -> None:
        while len(writing) > left:
            photo, written = writing.popleft()
            settle(photo, _error_of(written))

    def advance() -> None:
        # in a function of its own, whose variables do not outlive the step: the memory of photos is what counts here
        photo, loaded = loading.popleft()
        load_next()
        try:
            result = infer(photo, loaded.result())
        except Exception as error:
            settle_until(0)
            settle(photo, error)
        else:
            settle_until(workers - 1)
            writing.append((photo, writers.submit(write, photo, result)))

    threads = torch.get_num_threads()
    try:
        with _pool("load", workers) as loaders, _pool("write", workers) as writers:
            try:
                load_next(workers)
                while loading:
                    advance()
                settle_until(0)
            finally:
                loaders.shutdown(wait=False, cancel_futures=True)
    finally:
        torch.set_num_threads(threads)  # that of a pool's threads is also the default of new ones


def _pool(name: str, workers: int) -> ThreadPoolExecutor:
    """Threads in which torch itself is single-threaded, since the network has the cores."""
    return ThreadPoolExecutor(workers, name, initializer=torch.set_num_threads, initargs=(1,))


def _error_of(future: Future[None]) -> Exception | None:
    """What the work raised; Ctrl-C is raised again."""
    try:
        future.result()
    except Exception as error:
        return error
    return None
