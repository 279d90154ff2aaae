"""DRAC2022's volumes, read back from the bytes in their files, and the check of the images."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import OCTA_LESION_CODES, OCTA_LESIONS
from tinylesions.transforms.drac_submission import check_drac_images, write_drac_submission

NUMBERS = {"IRMA": 1, "NPA": 2, "NV": 3}
VOLUMES = ["1.nii.gz", "2.nii.gz", "3.nii.gz"]
FILES = [*(f"out/{name}" for name in VOLUMES), "out_order.csv"]


def masks(number: int, lesion: int, size: tuple[int, int] = (5, 7)) -> np.ndarray:
    """A bool mask that is like no other, nor like itself turned round."""
    return np.random.default_rng([number, lesion]).random(size) < 0.4


def predicted(folder: Path, number: int, lesions: tuple[int, ...] = (0, 1, 2), size: tuple[int, int] = (5, 7)) -> Path:
    (folder / str(number)).mkdir(parents=True)
    for lesion in lesions:
        image = Image.fromarray(masks(number, lesion, size).astype(np.uint8) * 255)
        image.save(folder / str(number) / f"{OCTA_LESIONS[lesion]}_mask.png")
    return folder / str(number)


def read(path: Path) -> np.ndarray:
    """The volume as SimpleITK's ``GetArrayFromImage`` gives it: the file's bytes, the file's first axis the last."""
    image = nib.load(path)
    assert image.header.get_data_dtype() == np.uint8
    assert image.header["pixdim"][1:4].tolist() == [1, 1, 1]
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    sizes = image.header["dim"][3:0:-1]
    return np.frombuffer(image.to_bytes()[352:], dtype=np.uint8).reshape(sizes)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("numbers", [[2], [10, 2, 9]])
def test_slices_are_the_images_in_numeric_order(tmp_path, numbers):
    folders = [predicted(tmp_path / "predictions", number) for number in numbers]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = write_drac_submission(folders, tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == FILES
    assert names(tmp_path) == ["out", "out_order.csv", "predictions"]
    assert names(tmp_path / "out") == VOLUMES, "the challenge takes these and nothing beside them"
    for lesion, code in enumerate(OCTA_LESION_CODES.values()):
        path = tmp_path / "out" / f"{NUMBERS[code]}.nii.gz"
        expected = np.stack([masks(number, lesion) for number in sorted(numbers)])
        np.testing.assert_array_equal(read(path), expected)
        # nibabel counts the axes the other way round
        np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj).transpose(2, 1, 0), expected)
    lines = [f"{index},{number}" for index, number in enumerate(sorted(numbers))]
    assert (tmp_path / "out_order.csv").read_text().splitlines() == ["index,id", *lines]


def test_directions_are_those_of_an_image_without_any(tmp_path):
    """SimpleITK's x and y go to the left and to the back, nibabel's to the right and to the front."""
    write_drac_submission([predicted(tmp_path / "predictions", 1)], tmp_path / "out")
    for name in VOLUMES:
        image = nib.load(tmp_path / "out" / name)
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        for affine in (image.affine, image.get_sform(), image.get_qform()):
            np.testing.assert_array_equal(np.abs(affine), np.eye(4))


def test_two_runs_give_the_same_bytes(tmp_path, monkeypatch):
    folders = [predicted(tmp_path / "predictions", number) for number in (1, 2)]
    first = write_drac_submission(folders, tmp_path / "one")
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    second = write_drac_submission(folders[::-1], tmp_path / "other")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_lesion_that_was_not_predicted(tmp_path):
    folders = [predicted(tmp_path / "predictions", number, lesions=(0, 2)) for number in (1, 2, 3)]
    with pytest.warns(
        UserWarning, match=r"nonperfusion_area was not predicted .*2\.nii\.gz holds zeros only"
    ) as caught:
        write_drac_submission(folders, tmp_path / "out")
    assert len(caught) == 1
    zeros = read(tmp_path / "out" / "2.nii.gz")
    assert (zeros.dtype, zeros.shape, zeros.any()) == (np.uint8, (3, 5, 7), np.False_)
    np.testing.assert_array_equal(read(tmp_path / "out" / "3.nii.gz")[1], masks(2, 2))


def test_one_lesion_keeps_its_number(tmp_path):
    folders = [predicted(tmp_path / "predictions", number) for number in (1, 2)]
    write_drac_submission(folders, tmp_path / "out", lesions=["neovascularisation"])
    assert names(tmp_path / "out") == ["3.nii.gz"]
    np.testing.assert_array_equal(read(tmp_path / "out" / "3.nii.gz")[0], masks(1, 2))


def test_masks_of_nothing_and_of_everything(tmp_path):
    folder = predicted(tmp_path / "predictions", 1)
    for lesion, level in zip(OCTA_LESIONS, (0, 255), strict=False):
        Image.fromarray(np.full((5, 7), level, np.uint8)).save(folder / f"{lesion}_mask.png")
    write_drac_submission([folder], tmp_path / "out")
    assert not read(tmp_path / "out" / "1.nii.gz").any()
    assert (read(tmp_path / "out" / "2.nii.gz") == 1).all()


def test_an_older_submission_stays_whole_when_a_mask_is_bad(tmp_path):
    folders = [predicted(tmp_path / "predictions", number) for number in (1, 2)]
    write_drac_submission(folders, tmp_path / "out")
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(folders[0] / f"{OCTA_LESIONS[0]}_mask.png")
    (folders[1] / f"{OCTA_LESIONS[2]}_mask.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"neovascularisation_mask\.png"):
        write_drac_submission(folders, tmp_path / "out")
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == before
    assert names(tmp_path) == ["out", "out_order.csv", "predictions"]
    assert names(tmp_path / "out") == VOLUMES


def test_input_that_does_not_fit(tmp_path):
    root = tmp_path / "predictions"
    folders = [predicted(root, number) for number in (1, 2)]
    other_size = predicted(root, 12, size=(7, 5))
    some = predicted(root, 11, lesions=(0, 1))
    none = predicted(root, 13, lesions=())
    grey = predicted(root, 14)
    Image.fromarray(np.full((5, 7), 100, np.uint8)).save(grey / f"{OCTA_LESIONS[1]}_mask.png")
    sixteen = predicted(root, 15)
    Image.fromarray(np.full((5, 7), 255, np.uint16)).save(sixteen / f"{OCTA_LESIONS[1]}_mask.png")
    cases = [
        ([], "no image was predicted"),
        ([*folders, other_size], r"12.*_mask.png has 5 × 7 pixels .* 7 × 5: .* leave image 12 out"),
        ([*folders, some], r"11.*neovascularisation_mask.png is missing.* predict image 11 again"),
        ([none], r"13 holds no intraretinal_microvascular_abnormality_mask.png nor"),
        ([*folders, root / "16"], r"16.*is missing"),
        ([*folders, grey], r"14.*nonperfusion_area_mask.png is no predicted mask"),
        ([*folders, sixteen], r"15.*nonperfusion_area_mask.png is no predicted mask"),
        ([*folders, predicted(tmp_path / "again", 2)], "are both of image 2"),
    ]
    for given, message in cases:
        with pytest.raises(InputError, match=message):
            write_drac_submission(given, tmp_path / "out")
        assert names(tmp_path / "out") == []
        assert not (tmp_path / "out_order.csv").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lesions": ["haemorrhage"]}, "lesions are some of"),
        ({"lesions": []}, "lesions are some of"),
    ],
)
def test_settings_that_do_not_exist(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        write_drac_submission([predicted(tmp_path / "predictions", 1)], tmp_path / "out", **settings)


def images(folder: Path, *sizes: tuple[int, int]) -> list[Path]:
    """Grey images of (width, height)."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(1, len(sizes) + 1)]
    for path, size in zip(paths, sizes, strict=True):
        Image.new("L", size).save(path)
    return paths


class TestCheck:
    def test_the_challenge_s_images_pass_in_silence(self, tmp_path):
        (path,) = images(tmp_path, (1024, 1024))
        copies = [shutil.copy(path, tmp_path / f"{number}.png") for number in range(2, 66)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_drac_images([path, *copies])

    @pytest.mark.parametrize(("count", "size"), [(64, (1024, 1024)), (66, (1024, 1024)), (65, (1024, 512))])
    def test_other_numbers_and_sizes_warn(self, tmp_path, count, size):
        paths = images(tmp_path, *[size] * count)
        words = f"takes 65 images of 1024 × 1024 pixels, and these are {count} of {size[0]} × {size[1]}"
        with pytest.warns(UserWarning, match=words) as caught:
            check_drac_images([str(path) for path in paths])
        assert [warning.filename for warning in caught] == [__file__]

    @pytest.mark.parametrize(
        ("sizes", "third"),
        [([(1024, 1024), (1024, 1024), (1024, 512)], "1024 × 512"), ([(7, 5), (7, 5), (5, 7), (7, 5)], "5 × 7")],
    )
    def test_mixed_sizes_are_refused(self, tmp_path, sizes, third):
        paths = images(tmp_path, *sizes)
        first = " × ".join(map(str, sizes[0]))
        with pytest.raises(InputError, match=rf"3\.png has {third} pixels .*{first}: .* leave it out\.$"):
            check_drac_images(paths)
        with pytest.warns(UserWarning, match=f"these are 2 of {first}"):
            check_drac_images(paths[:2])
