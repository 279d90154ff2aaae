"""A photo saved anew is found again, another eye is not, and what leaks is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinylesions.datasets import twins as twins_module
from tinylesions.datasets.errors import InputError
from tinylesions.datasets.idrid import idrid_segmentation
from tinylesions.datasets.phantoms import draw_fundus
from tinylesions.datasets.photos import read_photo
from tinylesions.datasets.twins import Twins, find_twins, leaving_out_twins, sharing_labels


def item(path: Path, name: str, split: str = "training") -> dict:
    return {"id": name, "image": str(path), "split": split}


def save(photo: np.ndarray | Image.Image, path: Path, **options) -> Path:
    image = photo if isinstance(photo, Image.Image) else Image.fromarray(photo)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def changed(photo: Image.Image) -> dict[str, Image.Image]:
    half = (photo.width // 2, photo.height // 2)
    border = photo.convert("L").point(lambda grey: 255 if grey > 25 else 0).getbbox()
    return {"same": photo, "half": photo.resize(half), "cropped": photo.crop(border)}


def resave(photos: list[dict], folder: Path) -> dict[str, list[dict]]:
    """JPEG quality 60, at full and half size and without the black border, in reversed order under other names."""
    copies: dict[str, list[dict]] = {}
    for number, photo in reversed(list(enumerate(photos))):
        for kind, image in changed(Image.fromarray(read_photo(photo["image"]))).items():
            path = save(image, folder / kind / f"{number}.jpg", quality=60)
            copies.setdefault(kind, []).append(item(path, f"{number}", "test"))
    return copies


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("phantoms")
    paths = [save(draw_fundus(seed, (400, 600)).photo, folder / f"photo {seed}.jpg", quality=92) for seed in range(6)]
    return [item(path, path.stem) for path in paths]


@pytest.mark.parametrize("kind", ["same", "half", "cropped"])
def test_photos_saved_anew_are_found_and_no_others(phantoms, tmp_path, kind):
    copies = resave(phantoms, tmp_path)[kind]
    calls: list[int] = []
    found = find_twins(phantoms, copies, lambda: calls.append(1))
    assert len(calls) == 12
    assert [twin.ids for twin in found] == [(f"photo {number}", f"{number}") for number in range(6)]
    assert found[2] == Twins(
        ("photo 2", "2"), ("training", "test"), (phantoms[2]["image"], str(tmp_path / kind / "2.jpg"))
    )


def test_neither_other_eyes_nor_a_mirrored_photo_match(phantoms, tmp_path):
    assert find_twins(phantoms[:3], phantoms[3:]) == []
    flipped = [
        item(save(np.fliplr(read_photo(photo["image"])), tmp_path / f"{number}.png"), f"{number}")
        for number, photo in enumerate(phantoms)
    ]
    assert find_twins(phantoms, flipped) == []


def test_other_formats_and_the_camera_held_upright(phantoms, tmp_path):
    photo = Image.fromarray(read_photo(phantoms[0]["image"]))
    turned = photo.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    grey16 = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    copies = [
        save(photo, tmp_path / "a.tif"),
        save(turned, tmp_path / "b.jpg", exif=exif, quality=90),
        save(grey16, tmp_path / "c.png"),
        save(photo.convert("RGBA"), tmp_path / "d.png"),
    ]
    found = find_twins(phantoms, [item(path, path.stem) for path in copies])
    assert [twin.ids for twin in found] == [("photo 0", name) for name in "abcd"]


def test_differences_are_counted_bit_by_bit():
    bits = np.random.default_rng(0).random((5, twins_module.BITS)) > 0.5
    packed = np.packbits(bits, axis=1)
    for row, found in zip(bits, twins_module._differences(packed, packed), strict=True):
        assert found.tolist() == [np.mean([a != b for a, b in zip(row, other, strict=True)]) for other in bits]


def test_black_photos_and_empty_lists(tmp_path, phantoms):
    black = [item(save(np.zeros((60, 80, 3), np.uint8), tmp_path / "black.png"), "black")]
    assert find_twins(black, phantoms) == []
    assert find_twins([], phantoms) == find_twins(phantoms, []) == []
    with pytest.raises(InputError, match="no such photo"):
        find_twins(phantoms, [item(tmp_path / "none.jpg", "none")])


def test_what_the_other_set_tests_on_is_left_out():
    splits = ("training", "validation", "test")
    grading = [item(Path(f"d_{a}_{b}"), f"D {a} {b}", a) for a in splits for b in splits]
    segmentation = [item(Path(f"s_{a}_{b}"), f"S {a} {b}", b) for a in splits for b in splits]
    pairs = zip(grading, segmentation, strict=True)
    twins = [Twins(*((d[key], s[key]) for key in ("id", "split", "image"))) for d, s in pairs]
    alone = item(Path("alone"), "D training test")  # the id of a photo with a twin, but another file
    kept, others, left_out = leaving_out_twins([*grading, alone], segmentation, twins)
    assert [photo["id"] for photo in left_out] == [
        "D training validation",
        "D training test",
        "D validation test",
        "S validation training",
        "S test training",
        "S test validation",
    ]
    assert kept == [photo for photo in [*grading, alone] if photo not in left_out]
    assert others == [photo for photo in segmentation if photo not in left_out]
    assert leaving_out_twins(grading, segmentation, []) == (grading, segmentation, [])


def test_true_labels_are_shared_where_both_train(tmp_path):
    sizes = {"a": (8, 6), "b": (8, 6), "c": (4, 3), "d": (8, 6)}
    paths = {name: save(Image.new("RGB", size), tmp_path / f"{name}.png") for name, size in sizes.items()}
    grading = [{**item(paths[name], name), "grade": grade} for name, grade in (("a", 3), ("c", 1))]
    segmentation = [{**item(paths[name], name), "label": {"haemorrhage": f"{name}.tif"}} for name in ("b", "d")]
    twins = [
        Twins((one, other), ("training", "training"), (str(paths[one]), str(paths[other])))
        for one, other in (("a", "b"), ("c", "d"))
    ]
    graded, masked = sharing_labels(grading, segmentation, twins)
    assert graded == [{**grading[0], "label": {"haemorrhage": "b.tif"}}, grading[1]], "c is smaller than d's masks"
    assert masked == [{**segmentation[0], "grade": 3}, {**segmentation[1], "grade": 1}]
    tested = [Twins(twin.ids, ("training", "test"), twin.images) for twin in twins]
    assert sharing_labels(grading, segmentation, tested) == (grading, segmentation)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*where the paper has")
def test_real_photos_saved_anew_are_found_and_no_others(real_data, tmp_path):
    photos = idrid_segmentation(real_data / "idrid")
    assert [twin.ids for twin in find_twins(photos, photos)] == [(photo["id"],) * 2 for photo in photos]
    for copies in resave(photos, tmp_path).values():
        found = find_twins(photos, copies)
        assert [twin.ids for twin in found] == [(photo["id"], f"{number}") for number, photo in enumerate(photos)]
