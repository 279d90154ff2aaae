"""Files and folders that appear under their final name only when they are complete."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from .errors import InputError

__all__ = ["atomic_folder", "atomic_path"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_BLOCKED = {errno.ENOTDIR, errno.EEXIST, errno.ENOENT}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that becomes ``path`` when the block ends well and is removed when it raises.

    The temporary file lies in the same folder, which is created if needed, and has the same suffix, since writers
    choose the format by it. A process killed inside the block leaves a hidden ``.part-*`` file, never a broken
    ``path``. The block should only write: an OSError of it is taken for one of writing.

    Args:
        path: the file to write; an older one is replaced.

    Raises:
        InputError: the file cannot be written (no space, no permission, a folder of the path is a file).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, atomic_path(Path(folder) / "a" / "b.txt") as temporary:
        ...     _ = temporary.write_text("whole")
    """
    target = Path(path)
    temporary = _beside(target)
    with _explaining(target, lambda: temporary.unlink(missing_ok=True)):
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a new, empty folder that becomes ``path`` when the block ends well and is removed when it raises.

    An older folder of that name is replaced as a whole, no file of it stays; it is as it was when the block raises.

    Args:
        path: the folder to write.

    Raises:
        InputError: the folder cannot be written (no space, no permission, a part of the path is a file).
    """
    target = Path(path)
    if target.is_file():
        raise InputError(f"{target} is a file where a folder has to be written: move it or choose another folder.")
    temporary, old = _beside(target), _beside(target)
    with _explaining(target, lambda: shutil.rmtree(temporary)):
        temporary.mkdir(parents=True)
        yield temporary
        if not target.exists():
            temporary.rename(target)
            return
        target.rename(old)  # no system renames onto a folder that holds files
        try:
            temporary.rename(target)
        except BaseException:
            old.rename(target)
            raise
        shutil.rmtree(old)


def _beside(target: Path) -> Path:
    # without the target's own name, which may already have the greatest length that a file system takes
    return target.with_name(f".part-{uuid4().hex[:12]}{target.suffix}")


@contextmanager
def _explaining(target: Path, clean: Callable[[], None]) -> Iterator[None]:
    """Clean up after any error, and turn an OSError into a sentence about ``target``."""
    try:
        yield
    except BaseException as error:
        with suppress(OSError):  # there may be nothing to clean; the first error is the one to report
            clean()
        if isinstance(error, OSError):
            raise InputError(_sentence(error, target)) from error
        raise


def _sentence(error: OSError, target: Path) -> str:
    if error.errno in _BLOCKED:
        blocking = next((parent for parent in target.parents if parent.is_file()), None)
        if blocking is not None:
            return f"{target} cannot be written, {blocking} is a file: choose another output folder."
    problem = f"{target} cannot be written ({error.strerror or error})"
    if error.errno in _FULL:
        return f"{problem}: free some space or choose another output folder."
    if error.errno in _FORBIDDEN:
        return f"{problem}: choose an output folder that you may write to."
    return f"{problem}: check this path or choose another output folder."
