"""Training windows are those of MONAI's sliding-window inference, and only those with a lesion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import Dataset, MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose

from tinylesions.datasets.lesions import CLASSES, LESIONS
from tinylesions.transforms import SlidingWindowPatchesd, lesion_windows, window_origins

SIZES = [(64, 64), (65, 64), (97, 130), (128, 100), (33, 211)]


def index_image(height: int, width: int) -> torch.Tensor:
    """Every pixel holds its own number: a window's first pixel tells where it was cut."""
    return torch.arange(height * width, dtype=torch.float64).view(1, height, width)


def monai_origins(height: int, width: int, roi_size: tuple[int, int], overlap: float) -> list[tuple[int, int]]:
    cut = []

    def predictor(windows: torch.Tensor) -> torch.Tensor:
        cut.extend(divmod(int(number), width) for number in windows[:, 0, 0, 0])
        return windows

    SlidingWindowInferer(roi_size, sw_batch_size=5, overlap=overlap)(index_image(height, width)[None], predictor)
    return cut


def random_label_map(height: int, width: int, share: float, seed: int) -> torch.Tensor:
    """Mostly retina and black background, with lesion pixels here and there."""
    generator = torch.Generator().manual_seed(seed)
    label_map = torch.randint(0, 2, (1, height, width), generator=generator) * CLASSES.index("black_background")
    lesion = torch.rand(1, height, width, generator=generator) < share
    return torch.where(lesion, torch.randint(1, 5, (1, height, width), generator=generator), label_map).to(torch.uint8)


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("roi_size", [(32, 32), (33, 20)])
def test_origins_are_those_of_the_inferer(size, roi_size, overlap):
    found = window_origins(size, roi_size, overlap)
    assert found.dtype == torch.int64
    assert [tuple(origin) for origin in found.tolist()] == monai_origins(*size, roi_size, overlap)


@pytest.mark.parametrize("overlap", [0, 0.3, 0.97])
@pytest.mark.parametrize("size", SIZES)
def test_windows_cover_the_photo(size, overlap):
    covered = torch.zeros(size, dtype=torch.bool)
    for top, left in window_origins(size, (33, 20), overlap).tolist():
        assert top + 33 <= size[0]
        assert left + 20 <= size[1]
        covered[top : top + 33, left : left + 20] = True
    assert covered.all()


@pytest.mark.parametrize("seed", range(6))
def test_lesion_windows_against_a_loop(seed):
    label_map = random_label_map(101, 87, share=0.003, seed=seed)
    origins = window_origins((101, 87), (16, 12), 0.5)
    lesions = [CLASSES.index(lesion) for lesion in LESIONS]
    expected = [
        any(int(pixel) in lesions for pixel in label_map[0, top : top + 16, left : left + 12].unique())
        for top, left in origins.tolist()
    ]
    assert 0 < sum(expected) < len(expected)
    assert lesion_windows(label_map, origins, (16, 12)).tolist() == expected


@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_lesion_of_one_pixel_in_a_corner_is_seen(corner):
    label_map = torch.zeros(1, 64, 64, dtype=torch.uint8)
    label_map[0, corner[0], corner[1]] = 3
    assert lesion_windows(label_map, window_origins((64, 64), (32, 32)), (32, 32)).sum() == 1


def cut_windows(label_map: torch.Tensor, **options) -> list[dict]:
    height, width = label_map.shape[1:]
    photo = index_image(height, width).repeat(3, 1, 1)
    data = {"image": MetaTensor(photo), "label": MetaTensor(label_map), "other": torch.zeros(1), "id": "eye"}
    seed = options.pop("seed", 0)
    return SlidingWindowPatchesd(["image", "label"], **options).set_random_state(seed)(data)


def origins_of(windows: list[dict], width: int) -> list[tuple[int, int]]:
    return [divmod(int(window["image"][0, 0, 0]), width) for window in windows]


def test_windows_hold_what_lies_at_their_origin():
    label_map = random_label_map(97, 130, share=0.0003, seed=3)
    windows = cut_windows(label_map, roi_size=(32, 24), overlap=0.25)
    origins = window_origins((97, 130), (32, 24), 0.25)
    kept = origins[lesion_windows(label_map, origins, (32, 24))].tolist()
    assert 0 < len(kept) < len(origins)
    for window, (top, left) in zip(windows, kept, strict=True):
        assert torch.equal(window["image"], index_image(97, 130).repeat(3, 1, 1)[:, top : top + 32, left : left + 24])
        assert torch.equal(window["label"], label_map[:, top : top + 32, left : left + 24])
        assert window["label"].dtype == torch.uint8
        assert type(window["image"]) is torch.Tensor
        assert set(window) == {"image", "label"}


def test_windows_are_copies():
    label_map = torch.ones(1, 32, 64, dtype=torch.uint8)
    photo = index_image(32, 64)
    windows = SlidingWindowPatchesd(["image", "label"], 32)({"image": photo, "label": label_map})
    windows[0]["image"].zero_()
    windows[1]["label"].zero_()
    assert torch.equal(photo, index_image(32, 64))
    assert label_map.all()
    assert windows[0]["image"].untyped_storage().nbytes() == 32 * 32 * 8


def test_share_of_lesion_free_windows():
    label_map = random_label_map(320, 320, share=0.0002, seed=1)
    origins = [tuple(origin) for origin in window_origins((320, 320), (16, 16)).tolist()]
    with_lesion = set(origins_of(cut_windows(label_map, roi_size=16), 320))
    assert 0 < len(with_lesion) < 40
    assert origins_of(cut_windows(label_map, roi_size=16, lesion_free_share=1.0), 320) == origins

    some = origins_of(cut_windows(label_map, roi_size=16, lesion_free_share=0.3), 320)
    assert with_lesion < set(some)
    assert some == [origin for origin in origins if origin in set(some)]
    free = len(origins) - len(with_lesion)
    assert len(some) - len(with_lesion) == pytest.approx(0.3 * free, abs=4 * np.sqrt(0.21 * free))
    assert some == origins_of(cut_windows(label_map, roi_size=16, lesion_free_share=0.3, seed=0), 320)
    assert some != origins_of(cut_windows(label_map, roi_size=16, lesion_free_share=0.3, seed=1), 320)


def test_photo_without_lesions_gives_no_window():
    assert cut_windows(torch.zeros(1, 70, 70, dtype=torch.uint8)) == []


@pytest.mark.parametrize("size", [(20, 30), (20, 64), (70, 30), (31, 32)])
def test_photo_smaller_than_a_window_is_padded(size):
    label_map = torch.ones(1, *size, dtype=torch.uint8)
    windows = cut_windows(label_map, roi_size=32)
    first = windows[0]
    rows, columns = min(size[0], 32), min(size[1], 32)
    assert all(window["image"].shape == (3, 32, 32) and window["label"].shape == (1, 32, 32) for window in windows)
    assert torch.equal(first["image"][0, :rows, :columns], index_image(*size)[0, :rows, :columns])
    inside = torch.zeros(1, 32, 32, dtype=torch.bool)
    inside[:, :rows, :columns] = True
    assert (first["label"][inside] == 1).all()
    assert (first["label"][~inside] == CLASSES.index("black_background")).all()
    assert first["image"][:, rows:].sum() == first["image"][:, :, columns:].sum() == 0


def test_in_a_monai_pipeline_each_window_becomes_an_item():
    label_map = torch.ones(1, 64, 96, dtype=torch.uint8)
    items = Dataset(
        [{"image": index_image(64, 96), "label": label_map}], Compose([SlidingWindowPatchesd(["image", "label"], 32)])
    )
    assert len(items[0]) == 6


@pytest.mark.parametrize(
    "wrong", [{"overlap": 1}, {"overlap": -0.1}, {"lesion_free_share": 1.1}, {"lesion_free_share": -1}]
)
def test_arguments_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SlidingWindowPatchesd("image", **wrong)
