"""Frequencies are shares of pixels, counted once for each data set."""

from __future__ import annotations

import json
import os
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from tinylesions.datasets import (
    CONIC_CLASSES,
    MONUSAC_CLASSES,
    InputError,
    class_frequencies,
    conic,
    monusac,
    tile_arrays,
)

from .layouts import SIZE, write_conic, write_monusac

module = import_module("tinylesions.datasets.class_frequencies")


@pytest.fixture
def items(tmp_path):
    return conic(write_conic(tmp_path, [f"a{number}-0" for number in range(20)]))


def absent(classes: str) -> pytest.WarningsRecorder:
    return pytest.warns(UserWarning, match=f"^no training pixel is of {classes}, which cannot be learnt so: add tiles")


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """How many items each count looked at."""
    calls: list[int] = []
    count = module._count
    monkeypatch.setattr(module, "_count", lambda items, names: calls.append(len(items)) or count(items, names))
    return calls


def test_shares_of_the_given_items(items):
    for some in (items, items[:7], items[3:4]):
        labels = np.load(some[0]["label"])[[item["index"] for item in some], ..., 1]
        shares = np.bincount(labels.ravel().astype(int), minlength=7) / labels.size
        present = set(labels.ravel())
        missing = [name for number, name in enumerate(CONIC_CLASSES) if number not in present]
        assert len(missing) == {20: 0, 7: 1, 1: 5}[len(some)]
        with absent(" or ".join(missing)) if missing else warnings.catch_warnings():
            if not missing:
                warnings.simplefilter("error")
            found = class_frequencies(some, CONIC_CLASSES)
        assert found == pytest.approx(shares.tolist(), abs=1e-15)
        assert sum(found) == pytest.approx(1)
        assert all(type(share) is float for share in found)


def test_outlines(tmp_path):
    items = monusac(write_monusac(tmp_path, {"a": 1, "b": 1, "c": 1}))
    with absent("lymphocyte or macrophage or neutrophil"):
        found = class_frequencies(items, MONUSAC_CLASSES)
    assert 9 <= found[1] * SIZE[0] * SIZE[1] <= 25  # a square of 4 × 4, with or without its rim
    assert found == pytest.approx([1 - found[1], found[1], 0, 0, 0])


def test_cache_spares_the_count(items, tmp_path, counted):
    cache = tmp_path / "new" / "frequencies.json"
    first = class_frequencies(items, CONIC_CLASSES, cache)
    assert class_frequencies(items, list(CONIC_CLASSES), str(cache)) == first
    assert counted == [20]
    assert json.loads(cache.read_text())["frequencies"] == first
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_whatever_changes_is_counted_anew(items, tmp_path, counted):
    cache = tmp_path / "frequencies.json"
    class_frequencies(items, CONIC_CLASSES, cache)
    class_frequencies(items[1:], CONIC_CLASSES, cache)
    for _ in range(2):  # what the cache keeps is warned of again
        with absent("new"):
            class_frequencies(items[1:], (*CONIC_CLASSES, "new"), cache)
    assert counted == [20, 19, 19]
    again = class_frequencies(items[1:], CONIC_CLASSES, cache)
    label = items[0]["label"]
    state = Path(label).stat()
    labels = np.load(label)
    tile_arrays._mapped.cache_clear()  # Windows writes no file that is mapped into memory
    labels[..., 1] = np.where(labels[..., 1] > 0, 1, 0)
    np.save(label, labels)
    os.utime(label, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))
    with absent(" or ".join(CONIC_CLASSES[2:])):
        new = class_frequencies(items[1:], CONIC_CLASSES, cache)
    assert new != again
    assert new[2:] == [0.0] * 5
    assert len(counted) == 5


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digest": "another"}'])
def test_broken_cache_is_written_anew(items, tmp_path, content):
    cache = tmp_path / "frequencies.json"
    cache.write_text(content)
    assert class_frequencies(items, CONIC_CLASSES, cache) == class_frequencies(items, CONIC_CLASSES)
    assert json.loads(cache.read_text())["class_names"] == list(CONIC_CLASSES)


@pytest.mark.parametrize(
    "shares", [None, "1", [], [0.5, 0.5], [1.0] * 7, ["1.0"] * 7, [-1.0, 2.0, *[0.0] * 5], {"a": 1}]
)
def test_broken_shares_of_the_right_items_are_counted_anew(items, tmp_path, shares):
    cache = tmp_path / "frequencies.json"
    expected = class_frequencies(items, CONIC_CLASSES, cache)
    content = json.loads(cache.read_text())
    changed = {**content, "frequencies": shares}
    cache.write_text(json.dumps({key: value for key, value in changed.items() if value is not None}))
    assert class_frequencies(items, CONIC_CLASSES, cache) == expected
    assert json.loads(cache.read_text()) == content


def test_nothing_to_count_and_wrong_classes(items, tmp_path):
    with pytest.raises(InputError, match="no tile to count classes in"):
        class_frequencies([], CONIC_CLASSES)
    with pytest.raises(InputError, match=r"^class_names: 'background,a' is no list"):
        class_frequencies(items, "background,a")
    cache = tmp_path / "frequencies.json"
    with pytest.raises(InputError, match="give the class_names of this data set"):
        class_frequencies(items, CONIC_CLASSES[:3], cache)
    assert not cache.exists()
    with pytest.raises(InputError, match=r"none\.npy: the file cannot be read"):
        class_frequencies([{**items[0], "label": str(tmp_path / "none.npy")}], CONIC_CLASSES, cache)
