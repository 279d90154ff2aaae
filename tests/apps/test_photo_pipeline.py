"""Photos in flight: order, overlap, a bound on what is held, and ends of every kind."""

from __future__ import annotations

import _thread
import signal
import threading
import time
import weakref
from collections.abc import Callable

import pytest
import torch

from tinylesions.apps.photo_pipeline import run_in_flight

SECONDS = 20
"""How long a test waits for another thread before it fails."""


class Steps:
    """Steps that note what they did; a test replaces those it is about."""

    def __init__(self) -> None:
        self.inferred: list[int] = []
        self.written: list[int] = []
        self.settled: list[tuple[int, Exception | None]] = []

    def load(self, photo: int) -> str:
        return f"photo {photo}"

    def infer(self, photo: int, loaded: str) -> str:
        self.inferred.append(photo)
        return f"{loaded}, inferred"

    def write(self, photo: int, result: str) -> None:
        assert result == f"photo {photo}, inferred"
        self.written.append(photo)

    def settle(self, photo: int, error: Exception | None) -> None:
        self.settled.append((photo, error))

    def run(self, photos: int, workers: int = 1) -> None:
        run_in_flight(range(photos), self.load, self.infer, self.write, self.settle, workers)


@pytest.fixture
def steps() -> Steps:
    return Steps()


def wait(event: threading.Event) -> None:
    assert event.wait(SECONDS)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("photos", [0, 1, 2, 9])
def test_every_photo_once_and_in_order(steps, photos, workers):
    steps.run(photos, workers)
    assert steps.inferred == list(range(photos))
    assert sorted(steps.written) == list(range(photos))
    assert steps.settled == [(photo, None) for photo in range(photos)]


def test_reads_and_writes_while_the_network_runs(steps):
    loaded, inferring, writing = ([threading.Event() for _ in range(3)] for _ in range(3))

    def load(photo):
        loaded[photo].set()

    def infer(photo, _):
        inferring[photo].set()
        if photo == 1:
            wait(loaded[2])
            wait(writing[0])

    def write(photo, _):
        writing[photo].set()
        if photo == 0:
            wait(inferring[1])

    run_in_flight(range(3), load, infer, write, steps.settle)
    assert steps.settled == [(0, None), (1, None), (2, None)]


class TestMemory:
    @pytest.mark.parametrize("workers", [1, 3])
    @pytest.mark.parametrize("slow", ["load", "infer", "write"])
    def test_photos_held_at_a_time(self, steps, workers, slow):
        lock, held, most = threading.Lock(), 0, 0

        def count(change: int) -> None:
            nonlocal held, most
            with lock:
                held += change
                most = max(most, held)

        def step(name: str, change: int = 0) -> Callable[..., None]:
            def run(*_: object) -> None:
                count(max(change, 0))
                time.sleep(0.01 if name == slow else 0)
                count(min(change, 0))

            return run

        run_in_flight(range(20), step("load", 1), step("infer"), step("write", -1), steps.settle, workers)
        assert held == 0
        assert most <= 2 * workers + 1

    def test_a_photo_that_is_written_is_let_go(self, steps):
        class Pixels:
            pass

        held: list[weakref.ref] = []

        def load(_):
            pixels = Pixels()
            held.append(weakref.ref(pixels))
            return pixels

        def infer(photo, pixels):
            deadline = time.monotonic() + SECONDS  # the thread that wrote it may need a moment
            while any(pixels() for pixels in held[: max(0, photo - 1)]) and time.monotonic() < deadline:
                time.sleep(0.001)
            assert not any(pixels() for pixels in held[: max(0, photo - 1)])
            return pixels

        run_in_flight(range(6), load, infer, lambda *_: None, steps.settle)
        assert steps.settled == [(photo, None) for photo in range(6)]


class TestErrors:
    @pytest.mark.parametrize("workers", [1, 3])
    @pytest.mark.parametrize("bad", ["load", "infer", "write"])
    def test_are_settled_with_their_photo(self, steps, monkeypatch, bad, workers):
        whole = getattr(steps, bad)

        def broken(photo, *arguments):
            if photo in (0, 3):
                raise ValueError(f"{photo} is bad")
            return whole(photo, *arguments)

        monkeypatch.setattr(steps, bad, broken)
        steps.run(6, workers)
        assert [photo for photo, _ in steps.settled] == list(range(6))
        assert {photo: str(error) for photo, error in steps.settled if error} == {0: "0 is bad", 3: "3 is bad"}
        assert sorted(steps.written) == [1, 2, 4, 5]

    def test_that_settle_raises_end_the_run(self, steps, monkeypatch):
        def load(photo):
            if photo == 1:
                raise ValueError(f"{photo} is bad")
            return f"photo {photo}"

        def settle(_, error):
            if error:
                raise error

        monkeypatch.setattr(steps, "load", load)
        monkeypatch.setattr(steps, "settle", settle)
        with pytest.raises(ValueError, match="1 is bad"):
            steps.run(5)
        assert steps.written == [0]


class TestControlC:
    def test_in_the_network(self, steps):
        """What is being written becomes whole, and nothing more is begun."""
        loading, writing, pressed = threading.Event(), threading.Event(), threading.Event()
        loaded = []

        def load(photo):
            loaded.append(photo)
            if photo == 2:
                loading.set()
                wait(pressed)
            return f"photo {photo}"

        def infer(photo, data):
            if photo == 1:
                wait(loading)
                wait(writing)
                pressed.set()
                raise KeyboardInterrupt
            return f"{data}, inferred"

        def write(photo, _):
            writing.set()
            wait(pressed)
            steps.written.append(photo)

        with pytest.raises(KeyboardInterrupt):
            run_in_flight(range(9), load, infer, write, steps.settle)
        assert steps.written == [0]
        assert loaded == [0, 1, 2]
        assert not [thread for thread in threading.enumerate() if thread.name.startswith(("load", "write"))]

    def test_while_waiting_for_a_photo(self, steps, monkeypatch):
        """The photo that is being read is the last one."""
        pressed = threading.Event()
        loaded = []

        def press(*_: object) -> None:
            pressed.set()
            raise KeyboardInterrupt

        def load(photo):
            loaded.append(photo)
            _thread.interrupt_main()
            wait(pressed)
            time.sleep(0.1)  # in which the waiting thread takes note

        monkeypatch.setattr(steps, "load", load)
        before = signal.signal(signal.SIGINT, press)
        try:
            with pytest.raises(KeyboardInterrupt):
                steps.run(9)
        finally:
            signal.signal(signal.SIGINT, before)
        assert loaded == [0]

    def test_raised_in_another_thread(self, steps, monkeypatch):
        def write(photo, _):
            if photo == 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(steps, "write", write)
        with pytest.raises(KeyboardInterrupt):
            steps.run(9)
        assert steps.settled == [(0, None)]


def test_leaves_the_cores_to_the_network():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    threads = {}

    def note(step: str, result: object = None) -> None:
        threads[step] = torch.get_num_threads()

    try:
        run_in_flight(
            [0], lambda _: note("load"), lambda *_: note("infer"), lambda *_: note("write"), lambda *_: note("settle")
        )
        assert threads == {"load": 1, "infer": 2, "write": 1, "settle": 2}
        later = threading.Thread(target=note, args=["a thread of later"])
        later.start()
        later.join()
        assert threads["a thread of later"] == 2
    finally:
        torch.set_num_threads(before)
