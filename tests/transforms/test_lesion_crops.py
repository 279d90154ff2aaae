"""Crops against a literal cut out of a padded photo, and what is drawn against its probabilities."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.transforms import Compose

from tinylesions.transforms import LesionIndicesd, RandLesionCropsd

SIZE = (80, 110)
KEYS = ["image", "label", "field_of_view"]


def photo() -> dict[str, Any]:
    """Every pixel of the image holds its own place; a pixel, a large block, and a third lesion that is absent."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    label = torch.zeros(3, *SIZE, dtype=torch.uint8)
    label[0, 5, 7] = 1
    label[1, 40:60, 50:90] = 1
    label[1, 70, 20] = 1
    inside = (rows - 40) ** 2 / 40**2 + (columns - 55) ** 2 / 55**2 < 1
    return {
        "image": torch.from_numpy(np.stack([rows + 1, columns + 1])),
        "label": label,
        "field_of_view": torch.from_numpy(inside[None].astype(np.uint8)),
        "id": "eye",
    }


def crops_of(data: dict[str, Any], count: int, **options: Any) -> tuple[list[tuple[int, int]], list[dict[str, Any]]]:
    crop = RandLesionCropsd(KEYS, num_samples=count, **options).set_random_state(0)
    items = crop(data)
    return crop.centres, items


@pytest.mark.parametrize("size", [(32, 48), (31, 1), (90, 40), (130, 140)])
def test_crops_are_cut_out_of_a_padded_photo(size):
    data = photo()
    centres, items = crops_of(data, 30, spatial_size=size, lesion_share=0.5)
    for (row, column), item in zip(centres, items, strict=True):
        assert set(item) == set(KEYS)
        for key in KEYS:
            padded = np.pad(data[key].numpy(), ((0, 0), (200, 200), (200, 200)))
            top, left = 200 + row - size[0] // 2, 200 + column - size[1] // 2
            np.testing.assert_array_equal(item[key].numpy(), padded[:, top : top + size[0], left : left + size[1]])
            assert item[key].dtype == data[key].dtype


def test_some_crops_leave_the_photo():
    _, items = crops_of(photo(), 60, spatial_size=48, lesion_share=1.0)
    assert any((item["image"] == 0).any() for item in items)


@pytest.mark.parametrize("size", [1, 2, 3, 20, (9, 40)])
def test_a_crop_around_a_lesion_holds_one(size):
    centres, items = crops_of(photo(), 200, spatial_size=size, lesion_share=1.0)
    assert all(item["label"].any() for item in items)
    side = size[0] if isinstance(size, tuple) else size
    near = {row for row, column in centres if column < 7 + 0.35 * 40 + 1 and row < 30}
    assert near == set(range(5 - int(0.35 * side), 5 + int(0.35 * side) + 1))  # every row that the jitter reaches


def test_lesions_are_as_likely_as_each_other_and_half_of_the_components_too():
    """A crop of one pixel tells which one was drawn: 1/2 for the first, 1/2 · (1/2 · 1/2 + 1/2 · 1/801) far below."""
    centres, _ = crops_of(photo(), 2000, spatial_size=1, lesion_share=1.0)
    drawn = Counter({(5, 7): "first", (70, 20): "alone"}.get(centre, "block") for centre in centres)
    for name, probability in (("first", 0.5), ("alone", 0.125 + 0.25 / 801), ("block", 0.375 - 0.25 / 801)):
        sigma = (2000 * probability * (1 - probability)) ** 0.5
        assert abs(drawn[name] - 2000 * probability) < 4 * sigma
    assert len(set(centres)) > 400  # of the block's 800


def test_lesions_are_drawn_by_their_weights():
    """1 of 5 for the first and 4 of 5 for the second; the third, whatever its weight, is absent."""
    centres, _ = crops_of(photo(), 2000, spatial_size=1, lesion_share=1.0, lesion_weights=[1, 4, 7])
    assert abs(centres.count((5, 7)) - 400) < 4 * (400 * 0.8) ** 0.5


def test_weights_of_another_number_of_lesions_are_refused():
    with pytest.raises(ValueError, match="weights are of 2 lesions"):
        crops_of(photo(), 1, lesion_weights=[1, 2])


def test_the_share_and_the_rest_anywhere_in_the_field_of_view():
    data = photo()
    data["field_of_view"][0, 40:60, 50:90] = 0  # the block, so that a centre tells its kind
    data["field_of_view"][0, 70, 20] = data["field_of_view"][0, 5, 7] = 0
    inside = data["field_of_view"][0].numpy() > 0
    centres, _ = crops_of(data, 2000, spatial_size=1, lesion_share=0.25)
    anywhere = np.array([centre for centre in centres if inside[centre]])
    assert abs(len(anywhere) - 1500) < 4 * (2000 * 0.25 * 0.75) ** 0.5
    counts = np.zeros(SIZE)
    np.add.at(counts, tuple(anywhere.T), 1)
    assert not counts[~inside].any()
    for part in (np.s_[:40], np.s_[:, :55], np.s_[20:40, 60:], np.s_[0:8]):
        share = inside[part].sum() / inside.sum()
        assert abs(counts[part].sum() - len(anywhere) * share) < 4 * (len(anywhere) * share * (1 - share)) ** 0.5


def test_a_photo_without_lesions_is_cropped_anywhere():
    data = photo()
    data["label"].zero_()
    centres, _ = crops_of(data, 50, spatial_size=8, lesion_share=1.0)
    assert all(data["field_of_view"][0, row, column] for row, column in centres)
    assert len(set(centres)) > 40


def test_indices_that_are_prepared_give_the_same_crops():
    data = photo()
    options = {"spatial_size": 24, "lesion_share": 0.7}
    plain, prepared = crops_of(data, 20, **options)[1], crops_of(LesionIndicesd()(data), 20, **options)[1]
    for first, second in zip(plain, prepared, strict=True):
        for key in KEYS:
            assert torch.equal(first[key], second[key])


def test_in_a_cached_pipeline():
    transforms = Compose([LesionIndicesd(), RandLesionCropsd(KEYS, spatial_size=(16, 24), num_samples=3)])
    transforms.set_random_state(0)
    dataset = CacheDataset([photo(), photo()], transforms, progress=False)
    before = dataset[0][0]["image"], dataset[0][0]["image"]
    assert not torch.equal(*before)  # the crop is drawn anew
    (batch,) = DataLoader(dataset, batch_size=2)
    assert {key: tuple(tensor.shape) for key, tensor in batch.items()} == {
        "image": (6, 2, 16, 24),
        "label": (6, 3, 16, 24),
        "field_of_view": (6, 1, 16, 24),
    }


def test_crops_are_copies_and_plain():
    data = photo() | {"image": MetaTensor(photo()["image"])}
    for _ in range(2):
        for item in crops_of(data, 20, spatial_size=16)[1]:
            assert type(item["image"]) is torch.Tensor
            assert item["image"].is_contiguous()
            item["image"] += 1
    assert torch.equal(data["image"].as_tensor(), photo()["image"])


class TestRefused:
    def test_sizes_that_differ(self):
        with pytest.raises(ValueError, match="of one size"):
            crops_of(photo() | {"label": torch.zeros(3, 80, 100)}, 1)
        with pytest.raises(ValueError, match="of one size"):
            RandLesionCropsd("image")(photo() | {"field_of_view": torch.ones(1, 80, 100)})

    def test_indices_of_other_masks(self):
        data = LesionIndicesd()(photo())
        with pytest.raises(ValueError, match="of 3 lesions and the masks of 2"):
            crops_of(data | {"label": data["label"][:2]}, 1)

    def test_an_empty_field_of_view(self):
        with pytest.raises(ValueError, match="field of view is empty"):
            crops_of(photo() | {"field_of_view": torch.zeros(1, *SIZE)}, 1, lesion_share=0.0)

    @pytest.mark.parametrize(
        "options", [{"lesion_share": 1.5}, {"spatial_size": 0}, {"num_samples": 0}, {"lesion_weights": [1, 0]}]
    )
    def test_arguments_out_of_range(self, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            RandLesionCropsd("image", **options)
