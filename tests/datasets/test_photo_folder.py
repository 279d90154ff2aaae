"""A folder of one's own photos is listed with any lesions, and what is wrong in it is named."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinylesions.datasets import InputError, check_datalist, lesions_of, photo_folder, read_layout, read_masks
from tinylesions.transforms import LoadLesionMasksd, LoadPhotod

from .layouts import SIZE, square, write_grey_mask, write_palette_mask, write_photo

pytestmark = pytest.mark.filterwarnings("error")
TABLE = "photo,split,grade\neye2.png,training,0\nEYE1,validation,\neye10,test,4\n"


@pytest.fixture
def root(tmp_path) -> Path:
    """Three photos; one has drusen and haemorrhages, one drusen, one a black mask of them."""
    folder = tmp_path / "own"
    for name in ("eye10.jpg", "eye2.png", "eye1.TIF"):
        write_photo(folder / "images" / name)
    write_grey_mask(folder / "masks/drusen/eye1.png", square(2))
    write_grey_mask(folder / "masks/drusen/eye2.tif", square(3))
    write_grey_mask(folder / "masks/drusen/eye10.png", square(0))
    write_palette_mask(folder / "masks/HE/eye1.tif", square(4))
    write_palette_mask(folder / "masks/HE/eye2.tif", square(5))
    return folder


def add_photos(root: Path, count: int) -> None:
    for number in range(count):
        write_photo(root / "images" / f"more{number:02}.png")


def write_table(root: Path, text: str, encoding: str = "utf-8") -> None:
    (root / "photos.csv").write_bytes(text.encode(encoding))


def test_items(root):
    write_table(root, TABLE)
    images, masks = root / "images", root / "masks"
    assert photo_folder(str(root)) == [
        {
            "id": "eye2",
            "image": str(images / "eye2.png"),
            "label": {"haemorrhage": str(masks / "HE/eye2.tif"), "drusen": str(masks / "drusen/eye2.tif")},
            "grade": 0,
            "split": "training",
        },
        {
            "id": "eye1",
            "image": str(images / "eye1.TIF"),
            "label": {"haemorrhage": str(masks / "HE/eye1.tif"), "drusen": str(masks / "drusen/eye1.png")},
            "split": "validation",
        },
        {
            "id": "eye10",
            "image": str(images / "eye10.jpg"),
            "label": {"drusen": str(masks / "drusen/eye10.png")},
            "grade": 4,
            "split": "test",
        },
    ]
    assert read_layout("folder", root) == photo_folder(root)


def test_masks_of_lesions_of_ones_own_are_loaded(root):
    write_table(root, TABLE)
    items = {item["id"]: item for item in photo_folder(root)}
    lesions = lesions_of(items.values())
    assert lesions == ["haemorrhage", "drusen"]
    load = LoadLesionMasksd(lesions=lesions, allow_empty=True)
    for name, sides in {"eye1": (4, 2), "eye2": (5, 3), "eye10": (0, 0)}.items():
        label = load(LoadPhotod("image")(items[name]))["label"]
        np.testing.assert_array_equal(label, np.stack([square(side) for side in sides]))
    # the guards stay: of what the caller does not name, only known lesions of the family are passed over
    assert read_masks(items["eye1"]["label"], SIZE, lesions=["drusen"]).sum() == 4
    with pytest.raises(InputError, match=r"drusen.eye1\.png: 'drusen' is no lesion; name it one of microaneurysm"):
        read_masks(items["eye1"]["label"], SIZE)
    with pytest.raises(InputError, match="haemorrhage is none of intraretinal"):
        read_masks(items["eye1"]["label"], SIZE, lesions=["neovascularisation", "drusen"])


def test_the_check_counts_lesions_of_ones_own(root):
    write_table(root, TABLE)
    items = photo_folder(root)
    report = check_datalist(items, allow_empty=True, lesions=lesions_of(items))
    assert report.problems == []
    assert report.totals == {"haemorrhage": 41, "drusen": 13}
    nothing = {"haemorrhage": 0, "drusen": 0}
    once = {"haemorrhage": 1, "drusen": 1}
    assert report.marked == {"training": once, "validation": once, "test": nothing}
    frame = report.to_frame().set_index("id")
    assert frame.loc["eye1", ["haemorrhage", "drusen"]].tolist() == [16, 4]
    Image.new("RGBA", SIZE[::-1]).save(root / "masks/drusen/eye10.png")
    Image.new("L", SIZE).save(root / "masks/HE/eye1.tif")
    (root / "images/eye2.png").write_bytes((root / "images/eye2.png").read_bytes()[:50])
    problems = check_datalist(items, allow_empty=True, lesions=lesions_of(items)).problems
    assert len(problems) == 3
    for words in ("eye10.png: the mask has an alpha channel", "eye1.tif: the mask has 12 × 16", "eye2.png: the photo"):
        assert any(words in problem for problem in problems)


def test_every_fifth_photo_validates_without_a_table(root):
    add_photos(root, 9)
    items = photo_folder(root)
    # eye1, eye2 (haemorrhages), eye10 (drusen), more00, more01 | more02 ...: the first of every five
    assert [item["id"] for item in items if item["split"] == "validation"] == ["eye1", "more02", "more07"]
    assert [item["id"] for item in items][:3] == ["eye2", "eye10", "more00"]
    assert [item["split"] for item in items] == ["training"] * 9 + ["validation"] * 3
    assert all(item.keys() == {"id", "image", "label", "split"} for item in items)
    write_table(root, "photo,grade\n" + "".join(f"{item['id']},1\n" for item in items))
    graded = photo_folder(root)
    assert graded == [{**item, "grade": 1} for item in items]


def test_the_only_mask_of_a_lesion_is_trained_on(root):
    write_palette_mask(root / "masks/SE/eye1.tif", square(4))
    by_split = {item["id"]: item["split"] for item in photo_folder(root)}
    assert by_split == {"eye2": "validation", "eye1": "training", "eye10": "training"}


def test_a_lesion_that_no_split_can_train_on_gives_a_warning(root):
    write_table(root, TABLE)
    write_palette_mask(root / "masks/SE/eye1.tif", square(4))
    with pytest.warns(UserWarning, match=r"own: no photo for training has a mask of soft_exudate: choose other splits"):
        photo_folder(root)
    write_table(root, "photo,split\neye1,test\neye2,test\neye10,test\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is trained
        assert {item["split"] for item in photo_folder(root)} == {"test"}


def test_two_photos_are_enough_and_one_is_not(root):
    (root / "images/eye10.jpg").unlink()
    (root / "masks/drusen/eye10.png").unlink()
    assert [(item["id"], item["split"]) for item in photo_folder(root)] == [
        ("eye2", "training"),
        ("eye1", "validation"),
    ]
    for path in (*root.glob("masks/*/eye2*"), root / "images/eye2.png"):
        path.unlink()
    with pytest.raises(InputError, match="images: two photos are needed, one to train and one to validate"):
        photo_folder(root)
    write_table(root, "photo,split\neye1,test\n")
    assert [item["split"] for item in photo_folder(root)] == ["test"]


def test_other_case_and_files_of_the_system(root):
    for name in ("images", "masks"):
        (root / name).rename(root / f"{name}_")
        (root / f"{name}_").rename(root / name.upper())
    (root / "MASKS/.DS_Store").touch()
    (root / "MASKS/drusen/Thumbs.db").touch()
    assert len(photo_folder(root)) == 3


def test_table_as_spreadsheets_write_it(root):
    write_table(root, TABLE)
    wanted = photo_folder(root)
    text = (
        "camera, Photo ,GRADE,Split\r\na,eye1.tif,,validation\r\nb,eye2,0,training\r\n,,,\r\n,eye10, 4 ,test,more\r\n"
    )
    write_table(root, text, "utf-8-sig")
    assert photo_folder(root) == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (TABLE + "eye3,training,\n", r"photos\.csv: row 5 \(eye3\) names no photo that is there; correct it"),
        (TABLE + "eye2.jpg,training,\n", r"row 5 \(eye2\.jpg\) names no photo"),
        (TABLE + "eye2,training,\n", r"row 5 \(eye2\) is the photo's second row; keep one"),
        (TABLE.replace("eye10,test,4\n", ""), r"eye10\.jpg: this photo has no row in photos\.csv; add one or remove"),
        (TABLE.replace(",test", ",Test"), r"row 4 \(eye10\) has 'Test' where a split is due; write one of training,"),
        (TABLE.replace(",test", ","), r"row 4 \(eye10\) has '' where a split is due"),
        (TABLE.replace("4", "5"), r"row 4 \(eye10\) has '5' where a grade 0 to 4 is due; correct it"),
        (TABLE.replace("0", "0.0", 1), r"row 2 .* has '0\.0' where a grade"),
        (TABLE.replace("photo", "file"), r"photos\.csv: the first row does not name one column 'photo'; write"),
        (TABLE.replace("grade", "split"), "the first row does not name one column 'split'"),
        (TABLE.replace(",", ";"), "the first row does not name one column 'photo'; .* separated by commas"),
        ("", "the first row does not name one column 'photo'"),
        ("photo\n\xe9", r"photos\.csv: the table is no CSV in UTF-8"),
    ],
)
def test_wrong_tables(root, text, sentence):
    write_table(root, text, "latin-1")
    with pytest.raises(InputError, match=sentence):
        photo_folder(root)


def test_two_tables(root, monkeypatch):
    for name in ("photos.csv", "Photos.csv"):
        (root / name).write_text(TABLE)
    if len(list(root.glob("[pP]hotos.csv"))) == 1:
        pytest.skip("this file system does not tell the cases apart")
    with pytest.raises(InputError, match="holds the same; keep one of the two"):
        photo_folder(root)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        ("drusen/eye3.png", r"eye3\.png: this mask belongs to no photo; .* name it <photo>\.png"),
        ("drusen/eye1.tif", r"eye1\.tif: eye1\.png is a mask of the same lesion; keep one"),
        ("haemorrhages/eye1.png", r"haemorrhages: HE is a folder of the same lesion; keep one of the two"),
        ("Drusen2/eye1.png", r"Drusen2: 'Drusen2' is no name of a lesion; use up to 40 lower-case"),
        ("overlay/eye1.png", r"overlay: 'overlay' is the name of something else in the results; choose"),
        ("a b/eye1.png", r"'a b' is no name"),
        ("neovascularization/eye1.png", r"neovascularization.eye1\.png: neovascularisation is none of microaneurysm"),
        ("eye1.png", r"masks.eye1\.png: this file is in no lesion's folder; move it to masks/<lesion>"),
        ("drusen/training/eye1.png", r"drusen.training: this is no mask \(\.jpg, "),
        ("drusen/eye1.gif", r"drusen.eye1\.gif: this is no mask \(\.jpg, .*\); save it as PNG or move it away"),
    ],
)
def test_wrong_masks(root, mask, sentence):
    path = root / "masks" / mask
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(InputError, match=sentence):
        photo_folder(root)


def test_two_names_that_differ_only_in_case(root):
    (root / "masks/he").mkdir(exist_ok=True)
    if len(list((root / "masks").iterdir())) == 2:
        pytest.skip("this file system does not tell the cases apart")
    with pytest.raises(InputError, match="he: HE is a folder of the same lesion"):
        photo_folder(root)


def test_no_photos_and_no_masks(root):
    (root / "masks/empty").mkdir()
    with pytest.raises(InputError, match="empty: this folder holds no mask; put the lesion's masks there or remove it"):
        photo_folder(root)
    (root / "masks").rename(root / "labels")
    with pytest.raises(InputError, match="masks: there are no masks to learn from; put them into masks/<lesion>"):
        photo_folder(root)
    (root / "masks").mkdir()
    with pytest.raises(InputError, match="no masks to learn from"):
        photo_folder(root)
    (root / "images").rename(root / "photos")
    with pytest.raises(InputError, match="images: this folder is missing; put the photos there"):
        photo_folder(root)
    (root / "images").mkdir()
    with pytest.raises(InputError, match="images: no photo"):
        photo_folder(root)
    with pytest.raises(InputError, match="no such folder; name the one that holds images and masks"):
        photo_folder(root / "nowhere")


def test_photos_of_one_name(root):
    write_photo(root / "images/eye2.jpg")
    with pytest.raises(InputError, match=r"eye2\.png: eye2\.jpg has the same name"):
        photo_folder(root)
