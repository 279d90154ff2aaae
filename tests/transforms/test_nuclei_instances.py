"""Connected pieces of a class become nuclei."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from tinylesions.transforms import NucleiInstancesd, nuclei_instances


def slow_reference(class_map: np.ndarray, minimum_area: int) -> np.ndarray:
    """Flood from each pixel in reading order."""
    height, width = class_map.shape
    nuclei = np.zeros((2, height, width), dtype=np.int32)
    seen: set[tuple[int, int]] = set()
    count = 0
    for start in np.ndindex(height, width):
        if class_map[start] == 0 or start in seen:
            continue
        piece, waiting = {start}, [start]
        while waiting:
            y, x = waiting.pop()
            for place in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= place[0] < height and 0 <= place[1] < width
                if inside and place not in piece and class_map[place] == class_map[start]:
                    piece.add(place)
                    waiting.append(place)
        seen |= piece
        if len(piece) >= minimum_area:
            count += 1
            for y, x in piece:
                nuclei[:, y, x] = count, class_map[start]
    return nuclei


@pytest.mark.parametrize("minimum_area", [0, 1, 3, 10])
@pytest.mark.parametrize("shape", [(31, 47), (1, 60), (60, 1)])
def test_against_a_flood(shape, minimum_area):
    random = np.random.default_rng(shape[0])
    class_map = random.choice(4, size=shape, p=[0.4, 0.4, 0.15, 0.05]).astype(np.uint8)
    found = nuclei_instances(class_map, minimum_area)
    expected = slow_reference(class_map, minimum_area)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    if minimum_area <= 1 or min(shape) > 1:
        assert expected[0].max() > 3


def test_corners_do_not_join_and_classes_separate():
    class_map = np.array([[1, 0, 2, 2], [0, 1, 3, 2]])
    assert nuclei_instances(class_map, 1)[0].tolist() == [[1, 0, 2, 2], [0, 3, 4, 2]]


@pytest.mark.parametrize("class_", [0, 2])
def test_nothing_and_everything(class_):
    nuclei = nuclei_instances(np.full((12, 9), class_, dtype=np.uint8))
    assert (nuclei[0] == (class_ > 0)).all()
    assert (nuclei[1] == class_).all()


def test_transform_adds_and_leaves():
    random = np.random.default_rng(5)
    maps = {key: torch.from_numpy(random.integers(0, 3, (1, 20, 30), dtype=np.uint8)) for key in ("binary", "combined")}
    maps["combined"] = MetaTensor(maps["combined"])
    data = NucleiInstancesd(["binary", "combined", "multi_class"], minimum_area=4, allow_missing_keys=True)(maps)
    assert set(data) == {"binary", "combined", "binary_nuclei", "combined_nuclei"}
    for key, map_ in maps.items():
        assert torch.equal(data[key], map_)
        assert data[f"{key}_nuclei"].dtype == torch.int32
        np.testing.assert_array_equal(data[f"{key}_nuclei"].numpy(), slow_reference(map_.numpy()[0], 4))
    with pytest.raises(KeyError):
        NucleiInstancesd("multi_class")(maps)
