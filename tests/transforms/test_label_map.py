"""The label map of a photo against a reference that looks at one pixel after another."""

from __future__ import annotations

import itertools

import pytest
import torch
from monai.data import MetaTensor

from tinylesions.datasets.lesions import CLASSES, LESIONS, OVERLAP_PRIORITY
from tinylesions.transforms import LesionMasksToLabelMapd, lesion_masks_to_label_map


def literal(masks: torch.Tensor, field_of_view: torch.Tensor, priority: tuple[str, ...]) -> torch.Tensor:
    _, height, width = masks.shape
    label_map = torch.empty(1, height, width, dtype=torch.uint8)
    for row, column in itertools.product(range(height), range(width)):
        name = "other" if field_of_view[0, row, column] > 0 else "black_background"
        for lesion in priority:
            if masks[LESIONS.index(lesion), row, column] > 0:
                name = lesion
                break
        label_map[0, row, column] = CLASSES.index(name)
    return label_map


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("priority", [OVERLAP_PRIORITY, LESIONS[::-1]])
def test_against_pixel_by_pixel(seed, priority):
    generator = torch.Generator().manual_seed(seed)
    masks = (torch.rand(4, 13, 17, generator=generator) < 0.1 * (seed + 1)).to(torch.uint8)
    field_of_view = (torch.rand(1, 13, 17, generator=generator) < 0.6).to(torch.uint8)
    found = lesion_masks_to_label_map(masks, field_of_view, priority)
    assert found.dtype == torch.uint8
    assert torch.equal(found, literal(masks, field_of_view, priority))


def test_without_a_black_background():
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(4, 13, 17, generator=generator) < 0.2).to(torch.uint8)
    found = LesionMasksToLabelMapd(mask_key=None)({"label": MetaTensor(masks)})["label"]
    assert isinstance(found, MetaTensor)
    assert (found.shape, found.dtype) == ((1, 13, 17), torch.uint8)
    assert torch.equal(found.as_tensor(), literal(masks, torch.ones(1, 13, 17), OVERLAP_PRIORITY))
    assert set(found.unique().tolist()) == set(range(5))


def test_rarer_lesion_wins_each_overlap_of_two():
    """The order that the paper leaves open and this project decided: MA > SE > HE > EX."""
    order = ["microaneurysm", "soft_exudate", "haemorrhage", "hard_exudate"]
    for stronger, weaker in itertools.combinations(order, 2):
        masks = torch.zeros(4, 1, 3, dtype=torch.uint8)
        masks[LESIONS.index(stronger), 0, :2] = 1
        masks[LESIONS.index(weaker), 0, 1:] = 255
        found = lesion_masks_to_label_map(masks, torch.ones(1, 1, 3))
        assert [CLASSES[index] for index in found[0, 0]] == [stronger, stronger, weaker]


def test_lesion_outside_the_field_of_view_stays():
    masks = torch.zeros(4, 1, 2)
    masks[1, 0, 0] = 1
    found = lesion_masks_to_label_map(masks, torch.zeros(1, 1, 2))
    assert [CLASSES[index] for index in found[0, 0]] == ["haemorrhage", "black_background"]


def test_transform_replaces_the_masks_and_leaves_the_input():
    masks = MetaTensor(torch.zeros(4, 6, 5, dtype=torch.uint8))
    masks[2, 1, 1] = 1
    data = {"label": masks, "field_of_view": MetaTensor(torch.ones(1, 6, 5, dtype=torch.uint8)), "id": "a"}
    result = LesionMasksToLabelMapd()(data)
    assert data["label"] is masks
    assert data["field_of_view"].min() == 1
    assert result["id"] == "a"
    assert result["label"].shape == (1, 6, 5)
    assert result["label"].sum() == CLASSES.index("hard_exudate")
