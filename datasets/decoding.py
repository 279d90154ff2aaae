"""Opens and decodes image files strictly: a damaged file is refused in one sentence, never half read."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from .errors import InputError

__all__ = ["ALPHA_MODES", "decode_image", "image_size"]

ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
# What Pillow's readers let through when they stumble over a damaged file.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError, IndexError, TypeError, OverflowError)
BLANK_TAIL = bytes(512)

_lock = threading.Lock()
_decoders = 0
_lenient = False


def decode_image(path: Path | str, kind: str = "photo", at_least: int | None = None) -> Image.Image:
    """Decode all pixels of an image file and turn it as its EXIF orientation says.

    Of a file with several pages the first one is read. A TIFF's bits a pixel and channel are in `info["bits"]`.

    Args:
        path: a JPG, PNG, TIFF or BMP file.
        kind: what the file should be ("photo" or "mask"), for the sentence of the error.
        at_least: decode a JPG at a half, a quarter or an eighth of its size, whose shorter side is no less than that,
            in a fraction of the time; other formats, and None, give the full size.

    Raises:
        InputError: the file is missing, a folder, no image, truncated, damaged or unreasonably large.
    """
    path = Path(path)
    with _strict_decoding(), _opened(path, kind) as image:
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        turned = _orientation(image) != 1
        try:
            image.load()
        except DAMAGE as error:
            raise InputError(
                f"{path}: the {kind} is truncated or damaged ({error}); copy or download it again"
            ) from error
        if image.format in ("JPEG", "MPO") and _ends_blank(path):
            raise InputError(
                f"{path}: the {kind} is truncated (its end is filled with zeros); copy or download it again"
            )
        if isinstance(image, TiffImageFile):
            image.info["bits"] = image.tag_v2.get(ExifTags.Base.BitsPerSample, (1,))[0]
        if not turned:
            return image
        upright = ImageOps.exif_transpose(image)
        upright.format = image.format
        return upright


def image_size(path: Path | str, kind: str = "photo") -> tuple[int, int]:
    """Read (height, width) after the EXIF orientation from the header, without decoding pixels.

    Raises:
        InputError: as `decode_image`, except for damage that only decoding shows.
    """
    with _opened(Path(path), kind) as image:
        if isinstance(image, TiffImageFile):  # newer Pillow swaps the sides of a turned TIFF by itself, older does not
            width, height = image.tag_v2[ExifTags.Base.ImageWidth], image.tag_v2[ExifTags.Base.ImageLength]
        else:
            width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[Image.Image]:
    if path.is_dir():
        raise InputError(f"{path}: this is a folder, not a {kind}; name a file in it")
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such {kind}; check the path") from error
    except OSError as error:
        raise InputError(f"{path}: the {kind} cannot be read ({error.strerror}); check its permissions") from error
    with file:
        # an open file, not its path: given a path, Pillow maps uncompressed TIFF into memory, and turned ones wrongly
        image = _identified(file, path, kind)
        if 0 in image.size:
            raise InputError(f"{path}: the {kind} has no pixels; copy or download it again")
        yield image


def _identified(file: IO[bytes], path: Path, kind: str) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path}: the {kind} claims to be larger than any camera makes ({error}); check where it comes from"
        ) from error
    except UnidentifiedImageError as error:
        wrong = "is empty" if path.stat().st_size == 0 else "is no JPG, PNG, TIFF or BMP image, or cut short"
        raise InputError(f"{path}: the {kind} {wrong}; copy it again or convert it") from error
    except DAMAGE as error:
        raise InputError(f"{path}: the {kind} cannot be opened ({error}); copy or download it again") from error


@contextmanager
def _strict_decoding() -> Iterator[None]:
    """Keep Pillow from accepting truncated files, whatever the process has set; threads may decode side by side."""
    global _decoders, _lenient
    with _lock:
        if _decoders == 0:
            _lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        _decoders += 1
    try:
        yield
    finally:
        with _lock:
            _decoders -= 1
            if _decoders == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = _lenient


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8, as the header gives it."""
    try:
        # the base class's method: PNG's own decodes all pixels to look for EXIF behind them
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except DAMAGE:  # broken EXIF beside sound pixels is common and turns nothing
        return 1
    return orientation if orientation in range(1, 9) else 1


def _ends_blank(path: Path) -> bool:
    """Tell whether zeros stand where a JPG should end, as an interrupted copy leaves them: they decode as grey."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - len(BLANK_TAIL)))
        if file.read() != BLANK_TAIL:
            return False
    return not path.read_bytes().rstrip(b"\0").endswith(b"\xff\xd9")
