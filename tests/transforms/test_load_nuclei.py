"""Tiles and their nuclei are loaded from files of one tile and of many."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image

from tinylesions.datasets.errors import InputError
from tinylesions.transforms import LoadNucleid, LoadTiled

CLASSES = ("background", "plasma", "connective")
HEIGHT, WIDTH = 20, 28


@pytest.fixture
def arrays(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, HEIGHT, WIDTH, 3), dtype=np.uint8)
    labels = np.zeros((4, HEIGHT, WIDTH, 2), dtype=np.int16)
    for index in range(4):
        labels[index, 2 : 6 + index, 3:9] = 300, 1
        labels[index, 10:14, 12 : 20 + index] = 7, 2
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    return images, labels


def item(folder, index) -> dict:
    return {"image": f"{folder}/images.npy", "label": f"{folder}/labels.npy", "index": index, "id": f"p_{index}"}


LOAD = Compose([LoadTiled("image"), LoadNucleid("label", CLASSES, nuclei_key="nuclei")])


@pytest.mark.parametrize("index", [0, 3])
def test_of_many_tiles(arrays, tmp_path, index):
    images, labels = arrays
    loaded = LOAD(item(tmp_path, index))
    kinds = {"image": torch.uint8, "label": torch.uint8, "nuclei": torch.int32}
    for key, dtype in kinds.items():
        assert isinstance(loaded[key], MetaTensor)
        assert loaded[key].dtype == dtype
        assert tuple(loaded[key].meta["spatial_shape"]) == (HEIGHT, WIDTH)
        assert loaded[key].meta["filename_or_obj"] == f"{tmp_path}/images.npy#{index}"
    for y, x in np.ndindex(HEIGHT, WIDTH):
        assert loaded["image"][:, y, x].tolist() == images[index, y, x].tolist()
        assert loaded["label"][:, y, x].tolist() == [labels[index, y, x, 1]]
        assert loaded["nuclei"][:, y, x].tolist() == labels[index, y, x].tolist()


def test_what_is_loaded_can_be_written_to_without_harm_to_the_files(arrays, tmp_path):
    loaded = LOAD(item(tmp_path, 1))
    for key in ("image", "label", "nuclei"):
        loaded[key] += 1
    assert (LOAD(item(tmp_path, 1))["image"].numpy() == arrays[0][1].transpose(2, 0, 1)).all()


def test_of_one_tile_the_index_does_not_matter(tmp_path):
    tile = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(tile).save(tmp_path / "tile.png")
    for extra in ({}, {"index": 3}):
        loaded = LoadTiled("image")({"image": tmp_path / "tile.png", **extra})["image"]
        np.testing.assert_array_equal(loaded.numpy(), tile.transpose(2, 0, 1))
        assert loaded.meta["filename_or_obj"] == str(tmp_path / "tile.png")


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparent_tiles(tmp_path, mode):
    tile = Image.fromarray(np.random.default_rng(2).integers(0, 256, (30, 40, 3), dtype=np.uint8)).convert(mode)
    tile.save(tmp_path / "tile.png")
    loaded = LoadTiled("image")({"image": tmp_path / "tile.png"})["image"]
    assert loaded.shape == (3, 30, 40)
    np.testing.assert_array_equal(loaded.numpy(), np.asarray(tile.convert("RGB")).transpose(2, 0, 1))


def test_without_a_key_for_the_nuclei_there_are_none(arrays, tmp_path):
    loaded = Compose([LoadTiled("image"), LoadNucleid("label", CLASSES)])(item(tmp_path, 0))
    assert set(loaded) == {"image", "label", "index", "id"}


def test_transforms_go_to_workers(arrays, tmp_path):
    LOAD(item(tmp_path, 0))
    again = pickle.loads(pickle.dumps(LOAD))(item(tmp_path, 2))
    assert (again["label"].numpy()[0] == arrays[1][2, ..., 1]).all()


def test_a_class_too_many(arrays, tmp_path):
    load = LoadNucleid("label", CLASSES[:2])
    with pytest.raises(InputError, match="has class 2"):
        load({**LoadTiled("image")(item(tmp_path, 0)), "label": f"{tmp_path}/labels.npy"})


@pytest.mark.parametrize("names", [(), ("background",), "background,plasma", ("background", "plasma", "plasma")])
def test_class_names_have_to_be_given(names):
    with pytest.raises(InputError, match=r"^class_names: "):
        LoadNucleid("label", names)
