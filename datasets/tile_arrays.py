"""Opens files of many tiles or labels (`.npy`) as memory maps, so that no process ever holds one whole."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from .errors import InputError

__all__ = ["open_labels", "open_tiles", "pick"]


def open_tiles(path: Path | str) -> np.ndarray:
    """Map the tiles of CoNIC's `images.npy` into memory: (N, H, W, 3) uint8.

    Raises:
        InputError: the file is missing, no such array, or cut short.
    """
    array = _open(path)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise InputError(
            f"{path}: the array has shape {array.shape} and type {array.dtype}, tiles have (number, height, width, 3)"
            " and uint8; save it so"
        )
    return array


def open_labels(path: Path | str) -> np.ndarray:
    """Map CoNIC's `labels.npy` into memory: (N, H, W, 2) of any integer type, instance id and class.

    Raises:
        InputError: the file is missing, no such array, or cut short.
    """
    array = _open(path)
    if array.ndim != 4 or array.shape[3] != 2 or array.dtype.kind not in "iu" or 0 in array.shape:
        raise InputError(
            f"{path}: the array has shape {array.shape} and type {array.dtype}, labels have (number, height, width, 2)"
            " of integers, the nucleus and its class; save it so"
        )
    return array


def pick(array: np.ndarray, path: Path | str, index: int | None) -> np.ndarray:
    """Return one entry of a mapped array, as a copy.

    Raises:
        InputError: no index, or one that the array has not.
    """
    if index is None:
        raise InputError(f"{path}: this file holds {len(array)} tiles; give the item the index of its own")
    if index not in range(len(array)):
        raise InputError(f"{path}: there is no tile {index}, the last is {len(array) - 1}; correct the item's index")
    return np.array(array[index])


def _open(path: Path | str) -> np.ndarray:
    path = Path(path)
    try:
        state = path.stat()
        return _mapped(str(path), state.st_mtime_ns, state.st_size)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise InputError(
            f"{path}: the file cannot be read ({error.strerror or error}); check its permissions"
        ) from error
    except (ValueError, EOFError) as error:
        raise InputError(
            f"{path}: this is no NumPy array, or cut short ({error}); copy or download it again"
        ) from error


@lru_cache(maxsize=8)  # a process opens the few files of its data set once; a worker process opens its own
def _mapped(path: str, modified: int, size: int) -> np.ndarray:
    """Map a file that was last written then: one written anew is opened anew."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("it is an archive of several arrays")
    return array
