"""Messages come in the photos' order, and as early as that allows."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from tinylesions.apps.ordered_messages import OrderedMessages


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_order_of_photos(order):
    said: list[str] = []
    messages = OrderedMessages(said.append)
    for photo in order:
        messages.add(photo, f"{photo} begun")
    for photo in order:
        messages.add(photo, f"{photo} ended")
        messages.close(photo)
    assert said == ["0 begun", "0 ended", "1 begun", "1 ended", "2 begun", "2 ended"]


def test_the_current_photo_is_not_held_back():
    said: list[str] = []
    messages = OrderedMessages(said.append)
    messages.add(0, "a")
    assert said == ["a"]
    messages.close(1)
    messages.add(2, "c")
    assert said == ["a"]
    messages.close(0)
    assert said == ["a", "c"]


def test_from_many_threads():
    said: list[int] = []
    messages = OrderedMessages(said.append)  # type: ignore[arg-type]

    def work(photo: int) -> None:
        for _ in range(20):
            messages.add(photo, photo)  # type: ignore[arg-type]
        messages.close(photo)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, reversed(range(50))))
    assert said == sorted(said)
    assert len(said) == 50 * 20
