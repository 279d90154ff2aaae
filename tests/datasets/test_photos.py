"""Photos of every kind are read as upright 8-bit RGB; what cannot be read whole is refused in one sentence."""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.photos import find_photos, photo_size, read_photo

UPRIGHT = {  # what the EXIF standard's orientations ask for, in numpy
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def save(array: np.ndarray, path: Path, mode: str | None = None, **options) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_lossless_rgb_comes_back_unchanged(tmp_path, rgb, suffix):
    photo = read_photo(save(rgb, tmp_path / f"a.{suffix}"))
    assert photo.dtype == np.uint8
    assert photo.flags.writeable
    np.testing.assert_array_equal(photo, rgb)


@pytest.mark.parametrize(
    ("at_least", "size"), [(400, (400, 600)), (200, (200, 300)), (101, (200, 300)), (100, (100, 150)), (1, (50, 75))]
)
def test_a_jpg_is_decoded_at_a_reduced_size_on_demand(tmp_path, at_least, size):
    smooth = np.add.outer(np.arange(400) / 4, np.arange(600) / 6).astype(np.uint8)
    path = save(np.stack([smooth, smooth[::-1], 255 - smooth], 2), tmp_path / "a.jpg", quality=95)
    photo = read_photo(path, at_least)
    assert photo.shape == (*size, 3)
    factor = 400 // size[0]
    means = read_photo(path).reshape(size[0], factor, size[1], factor, 3).mean(axis=(1, 3))
    assert np.abs(photo - means).max() < 4
    assert read_photo(save(smooth, tmp_path / "a.png"), at_least).shape == (400, 600, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied_to_pixels_and_size(tmp_path, rgb, suffix, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = save(rgb, tmp_path / f"a.{suffix}", exif=exif)
    expected = UPRIGHT[orientation](rgb)
    np.testing.assert_array_equal(read_photo(path), expected)
    assert photo_size(path) == expected.shape[:2]


def test_exif_orientation_of_a_jpg(tmp_path):
    half = np.zeros((32, 64, 3), np.uint8)
    half[:, :32] = 200
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save(half, tmp_path / "a.jpg", exif=exif)
    photo = read_photo(path)
    assert photo.shape == (64, 32, 3)
    assert photo_size(path) == (64, 32)
    assert photo[:30].min() > 150
    assert photo[34:].max() < 50


def test_grey_palette_and_one_bit(tmp_path, rgb):
    grey = rgb[..., 0]
    np.testing.assert_array_equal(read_photo(save(grey, tmp_path / "l.png")), np.dstack([grey] * 3))
    bits = np.where(grey > 99, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(read_photo(save(bits, tmp_path / "1.png", "1")), np.dstack([bits] * 3))
    palette = Image.fromarray(grey // 64)
    palette = palette.convert("L")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    palette.save(tmp_path / "p.png")
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]], np.uint8)
    np.testing.assert_array_equal(read_photo(tmp_path / "p.png"), colours[grey // 64])


def test_transparency_is_laid_over_black(tmp_path, rgb):
    alpha = np.where(np.arange(40) < 20, 0, 255).astype(np.uint8) * np.ones((24, 1), np.uint8)
    photo = read_photo(save(np.dstack([rgb, alpha]), tmp_path / "a.png"))
    assert not photo[:, :20].any()
    np.testing.assert_array_equal(photo[:, 20:], rgb[:, 20:])


def test_cmyk_jpg_keeps_its_colours(tmp_path):
    colours = np.zeros((16, 48, 3), np.uint8)
    colours[:, :16], colours[:, 16:32], colours[:, 32:] = (200, 60, 20), (30, 30, 30), (240, 220, 90)
    photo = read_photo(save(colours, tmp_path / "a.jpg", "CMYK", quality=95))
    assert np.abs(photo.astype(int) - colours).max() <= 6


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, suffix):
    deep = np.linspace(0, 65535, 24 * 40).reshape(24, 40).astype(np.uint16)
    photo = read_photo(save(deep, tmp_path / f"a.{suffix}"))
    np.testing.assert_array_equal(photo, np.dstack([deep // 256] * 3))


def test_big_endian_16_bit_tiff_turned(tmp_path):
    deep = np.arange(6, dtype=np.uint16).reshape(2, 3) * 10000
    (tmp_path / "a.tif").write_bytes(tiff(deep.astype(">u2").tobytes(), 3, 2, 16, order=">", orientation=6))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif")[..., 0], np.rot90(deep // 256, -1))
    assert photo_size(tmp_path / "a.tif") == (3, 2)


def test_uncompressed_grey_tiff_turned(tmp_path, rgb):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save(rgb[..., 0], tmp_path / "a.tif", exif=exif)
    np.testing.assert_array_equal(read_photo(path)[..., 0], np.rot90(rgb[..., 0], -1))


def test_12_bit_tiff_is_not_read_dark(tmp_path):
    # two pixels, 0xFFF and 0x800, packed into three bytes
    (tmp_path / "a.tif").write_bytes(tiff(bytes([0xFF, 0xF8, 0x00]), 2, 1, 12))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif")[0, :, 0], [255, 128])


def tiff(pixels: bytes, width: int, height: int, bits: int, order: str = "<", orientation: int = 1) -> bytes:
    """A minimal one-strip grey TIFF, as Pillow cannot write it."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 0, 274: orientation, 277: 1, 278: height, 279: 0}
    tags[273], tags[279] = 8 + 2 + 12 * len(tags) + 4, len(pixels)
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    return head + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + pixels


def test_16_bit_rgb_png_is_scaled(tmp_path, rgb):
    deep = rgb.astype(np.uint16) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40, 24, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), rgb)


def test_floating_point_photo_is_refused(tmp_path):
    with pytest.raises(InputError, match="32-bit"):
        read_photo(save(np.ones((4, 4), np.float32), tmp_path / "a.tif"))


def test_unreadable_inputs_are_refused_with_their_name(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.jpg").write_text("not a photo")
    for name, words in {"none.jpg": "no such", ".": "folder", "empty.jpg": "is empty", "notes.jpg": "no JPG"}.items():
        for read in (read_photo, photo_size):
            with pytest.raises(InputError, match=words) as refusal:
                read(tmp_path / name)
            assert str(tmp_path / name) in str(refusal.value)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("jpg", {}),
        ("jpg", {"progressive": True}),
        ("png", {}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("bmp", {}),
    ],
)
def test_truncated_photo_is_refused_whatever_pillow_is_told(tmp_path, rgb, monkeypatch, suffix, options, lenient):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    path = save(np.tile(rgb, (8, 8, 1)), tmp_path / f"a.{suffix}", **options)
    whole = path.read_bytes()
    for share in (0.3, 0.7, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"truncated|cut short"):
            read_photo(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is lenient
    path.write_bytes(whole)
    assert read_photo(path).shape == (192, 320, 3)


def test_jpg_filled_up_with_zeros_is_refused(tmp_path, rgb):
    path = save(np.tile(rgb, (8, 8, 1)), tmp_path / "a.jpg", quality=98)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    Image.open(path).load()  # Pillow alone takes the zeros for pixels
    with pytest.raises(InputError, match="filled with zeros"):
        read_photo(path)
    path.write_bytes(whole + bytes(2000))  # padding behind a whole photo does no harm
    assert read_photo(path).shape == (192, 320, 3)


def test_threads_stay_strict_side_by_side(tmp_path, rgb, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = save(np.tile(rgb, (8, 8, 1)), tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-3000])
    refused = []

    def work() -> None:
        for _ in range(20):
            with pytest.raises(InputError):
                read_photo(path)
            refused.append(True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 80
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_decompression_bomb_is_refused(tmp_path, rgb, monkeypatch):
    path = save(rgb, tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for read in (read_photo, photo_size):
        with pytest.raises(InputError, match="larger than any camera"):
            read(path)


def test_photo_size_decodes_no_pixels(tmp_path, rgb):
    path = save(rgb, tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-400])
    assert photo_size(path) == (24, 40)


def test_find_photos_searches_folders_in_natural_order(tmp_path):
    for name in (
        "b/IDRiD_10.JPG",
        "b/IDRiD_2.jpg",
        "b/IDRiD_1.tiff",
        "a.png",
        "notes.txt",
        ".hidden.png",
        ".git/x.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_photos([tmp_path])
    assert [photo.relative_to(tmp_path).as_posix() for photo in found] == [
        "a.png",
        "b/IDRiD_1.tiff",
        "b/IDRiD_2.jpg",
        "b/IDRiD_10.JPG",
    ]
    # a file is taken whatever its suffix, first named first, each once
    assert find_photos([tmp_path / "notes.txt", tmp_path / "b/IDRiD_2.jpg", tmp_path]) == [
        tmp_path / "notes.txt",
        tmp_path / "b/IDRiD_2.jpg",
        tmp_path / "a.png",
        tmp_path / "b/IDRiD_1.tiff",
        tmp_path / "b/IDRiD_10.JPG",
    ]


def test_find_photos_follows_links_once(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x.png").touch()
    try:
        (tmp_path / "in/link").symlink_to(tmp_path / "out", target_is_directory=True)
        (tmp_path / "out/loop").symlink_to(tmp_path / "in", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets users make no links")
    assert find_photos([tmp_path / "in"]) == [tmp_path / "in/link/x.png"]


def test_find_photos_names_what_is_missing(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no photo \(\.jpg"):
        find_photos([tmp_path])
    with pytest.raises(InputError, match="no such photo or folder"):
        find_photos([tmp_path / "none"])
