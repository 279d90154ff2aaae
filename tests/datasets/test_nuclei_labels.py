"""Tiles and labels of one file of many are picked out, checked, and survive other processes."""

from __future__ import annotations

import os
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest

from tinylesions.datasets import InputError, read_nuclei, read_tile

NAMES = ("background", "round", "long", "odd")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.zeros((18, 20, 24, 2), np.uint16)
    for label in labels:
        for number in range(1, 6):
            row, column = rng.integers(0, 16, 2)
            label[row : row + 4, column : column + 6] = number * 7, rng.integers(1, 4)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (18, 20, 24, 3), np.uint8))
    np.save(tmp_path / "labels.npy", labels)
    return tmp_path


def change(folder, index, value, place=(0, 0)) -> None:
    labels = np.load(folder / "labels.npy").astype(np.int64)
    labels[(index, *place)] = value
    np.save(folder / "labels.npy", labels)


def test_entries_are_those_of_the_file(folder):
    images, labels = np.load(folder / "images.npy"), np.load(folder / "labels.npy")
    for index in (0, 17):
        tile = read_tile(str(folder / "images.npy"), index)
        nuclei = read_nuclei(folder / "labels.npy", NAMES, (20, 24), index)
        assert (tile.dtype, nuclei.dtype) == (np.uint8, np.int32)
        assert (tile == images[index]).all()
        assert (nuclei == labels[index]).all()
        tile[:] = 0  # a copy: nothing is written to the file, and the next reader sees what was there
        assert (read_tile(folder / "images.npy", index) == images[index]).all()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows writes no file that is mapped into memory")
def test_a_file_written_anew_is_read_anew(folder):
    before = read_nuclei(folder / "labels.npy", NAMES, (20, 24), 3)
    labels = np.load(folder / "labels.npy")[::-1]
    (folder / "labels.npy").unlink()
    np.save(folder / "labels.npy", np.concatenate([labels, labels]))
    assert (read_nuclei(folder / "labels.npy", NAMES, (20, 24), 14) == before).all()
    assert read_nuclei(folder / "labels.npy", NAMES, (20, 24), 35).any()


def test_new_processes_read_the_same(folder):
    path = folder / "images.npy"
    here = [read_tile(path, index) for index in range(4)]
    read = pickle.loads(pickle.dumps(partial(read_tile, path)))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as workers:
        there = list(workers.map(read, range(4)))
        assert workers.submit(os.getpid).result() != os.getpid()
    assert all((a == b).all() for a, b in zip(here, there, strict=True))


def test_other_classes_than_named(folder):
    change(folder, 17, (3, 4))
    assert read_nuclei(folder / "labels.npy", (*NAMES, "new"), (20, 24), 17)[0, 0].tolist() == [3, 4]
    with pytest.raises(InputError, match=r"labels\.npy: patch 17 has class 4, but there are 4 class names.*give the"):
        read_nuclei(folder / "labels.npy", NAMES, (20, 24), 17)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ((0, 2), "patch 2 has 1 pixels with a nucleus but no class, or the reverse"),
        ((9, 0), "patch 2 has 1 pixels with a nucleus but no class, or the reverse"),
        ((-1, 1), "patch 2 has numbers below 0"),
        ((1, -1), "patch 2 has numbers below 0"),
        ((2**31, 1), "patch 2 has numbers below 0 or above"),
    ],
)
def test_numbers_that_mean_nothing(folder, value, sentence):
    free = np.argwhere(~np.load(folder / "labels.npy")[2, ..., 0].astype(bool))[0]
    change(folder, 2, value, tuple(free))
    with pytest.raises(InputError, match=rf"labels\.npy: {sentence}"):
        read_nuclei(folder / "labels.npy", NAMES, (20, 24), 2)
    read_nuclei(folder / "labels.npy", NAMES, (20, 24), 3)


def test_size_and_index(folder):
    with pytest.raises(InputError, match=r"labels have 24 × 20 pixels and tiles 20 × 24 \(width × height\)"):
        read_nuclei(folder / "labels.npy", NAMES, (24, 20), 0)
    for read in (
        partial(read_tile, folder / "images.npy"),
        partial(read_nuclei, folder / "labels.npy", NAMES, (20, 24)),
    ):
        with pytest.raises(InputError, match=r"\.npy: this file holds 18 tiles; give the item the index"):
            read()
        for index in (18, -1):
            with pytest.raises(InputError, match=rf"there is no tile {index}, the last is 17"):
                read(index=index)


def test_files_that_are_no_arrays(folder):
    for name, content in {
        "cut": (folder / "images.npy").read_bytes()[:-1],
        "empty": b"",
        "text": b"label",
        "pickle": pickle.dumps([1]),
    }.items():
        (folder / f"{name}.npy").write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}\.npy: this is no NumPy array, or cut short"):
            read_tile(folder / f"{name}.npy", 0)
    np.save(folder / "objects.npy", np.array([{}, None], object), allow_pickle=True)
    with (folder / "several.npy").open("wb") as file:
        np.savez(file, np.zeros(3), np.zeros(4))
    for name in ("objects", "several"):
        with pytest.raises(InputError, match=rf"{name}\.npy: this is no NumPy array"):
            read_tile(folder / f"{name}.npy", 0)
    (folder / "folder.npy").mkdir()
    with pytest.raises(InputError, match=r"folder\.npy: the file cannot be read"):
        read_tile(folder / "folder.npy", 0)
