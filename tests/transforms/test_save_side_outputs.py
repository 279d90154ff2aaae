from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from tinylesions.datasets.errors import InputError
from tinylesions.networks.red_seg import RedSeg
from tinylesions.transforms.save_side_outputs import SaveSideOutputsd

LESIONS = ("microaneurysm", "haemorrhage")
BRANCHES = [[2, 3, 4], [4, 5]]  # of different lengths: the second begins with a head that is not used
HEIGHT, WIDTH = 160, 240
COLUMNS = ("photo", "truth", "conv2", "conv3", "conv4", "conv5", "fused")


@pytest.fixture
def data(tmp_path_factory):
    generator = torch.Generator().manual_seed(0)
    file = tmp_path_factory.mktemp("photos") / "eye.png"
    colours = torch.randint(0, 256, (HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=generator).numpy()
    Image.fromarray(colours.repeat(2, axis=0).repeat(2, axis=1)).save(file)  # twice the network's size
    image = torch.randn(3, HEIGHT, WIDTH, generator=generator)
    probabilities = torch.rand(4, 2, HEIGHT, WIDTH, generator=generator)
    return {
        "pred": MetaTensor(probabilities.flatten(0, 1)),
        "image": MetaTensor(image, meta={"filename_or_obj": str(file)}),
        "label": MetaTensor((torch.rand(2, HEIGHT, WIDTH, generator=generator) > 0.9).byte()),
        "id": "eye",
    }


def save(data, folder: Path, **options) -> np.ndarray:
    result = SaveSideOutputsd("pred", folder, LESIONS, BRANCHES, **options)(data)
    assert result == data
    assert [path.name for path in folder.iterdir()] == [f"{data['id']}.png"]
    with Image.open(folder / f"{data['id']}.png") as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def panel(picture: np.ndarray, row: int, column: int, columns: int = len(COLUMNS)) -> np.ndarray:
    """Cut a panel out, found by the picture's proportions: all panels are alike, the scale lies below them."""
    across = (picture.shape[1] + 4) // columns
    assert across == WIDTH + 4
    strip = (picture.shape[0] - 2 * (HEIGHT + 4)) // 5  # two titles, three lines of the scale
    top = row * (strip + HEIGHT + 4) + strip
    return picture[top : top + HEIGHT, column * across : column * across + WIDTH]


def grey(probability: torch.Tensor) -> np.ndarray:
    return np.repeat(np.rint(255 * np.sqrt(probability.numpy()))[..., None], 3, axis=-1)


def test_each_panel_shows_what_its_title_says(data, tmp_path):
    picture = save(data, tmp_path)
    heads = data["pred"].as_tensor().unflatten(0, (4, 2))
    expected = {  # written out by hand
        (0, "conv2"): heads[0, 0],
        (0, "conv3"): heads[1, 0],
        (0, "conv4"): heads[2, 0],
        (0, "fused"): heads[3, 0],
        (1, "conv4"): heads[1, 1],
        (1, "conv5"): heads[2, 1],
        (1, "fused"): heads[3, 1],
    }
    for (row, name), head in expected.items():
        np.testing.assert_allclose(panel(picture, row, COLUMNS.index(name)), grey(head), atol=1)
    for row, name in ((0, "conv5"), (1, "conv2"), (1, "conv3")):
        assert len(np.unique(panel(picture, row, COLUMNS.index(name)).reshape(-1, 3), axis=0)) == 1
    with Image.open(data["image"].meta["filename_or_obj"]) as file:
        photo = np.asarray(file)[::2, ::2]
    for row in (0, 1):
        np.testing.assert_array_equal(panel(picture, row, 0), photo)
        np.testing.assert_array_equal(panel(picture, row, 1)[..., 0], data["label"][row].numpy() * 255)


def test_a_title_above_each_panel_and_a_scale_below(data, tmp_path):
    picture = save(data, tmp_path)
    strip = (picture.shape[0] - 2 * (HEIGHT + 4)) // 5
    titles = []
    for row in (0, 1):
        for column in range(len(COLUMNS)):
            top, left = row * (strip + HEIGHT + 4), column * (WIDTH + 4)
            title = picture[top : top + strip, left : left + WIDTH]
            assert title.max() > 200
            assert (title[:, [0, -1]] == title[0, 0]).all()  # nothing is cut off
            titles.append(title.tobytes())
    assert len(set(titles)) == len(titles)
    scale = picture[-3 * strip :]
    assert any((np.diff(line[-WIDTH:, 0].astype(int)) >= 0).all() and line[-1, 0] == 255 for line in scale)
    assert (scale[:, : -WIDTH - 4] == scale[0, 0]).all()


def test_without_truth(data, tmp_path):
    del data["label"]
    picture = save(data, tmp_path)
    heads = data["pred"].as_tensor().unflatten(0, (4, 2))
    np.testing.assert_allclose(panel(picture, 0, 1, columns=6), grey(heads[0, 0]), atol=1)


def test_half_precision(data, tmp_path):
    data["pred"] = data["pred"].as_tensor().bfloat16()
    picture = save(data, tmp_path)
    np.testing.assert_allclose(panel(picture, 1, 6), grey(data["pred"][7].float()), atol=1)


def test_the_networks_own_output(data, tmp_path):
    network = RedSeg(branches=BRANCHES, widths=(4, 4, 4, 4, 4), head="all").eval()
    image = data["image"].as_tensor()
    with torch.no_grad():
        probabilities = network(image[None])[0].sigmoid()
    picture = save({"pred": probabilities, "image": data["image"], "id": 7}, tmp_path)
    with torch.no_grad():
        network.all_heads = False
        fused = network(image[None])[0].sigmoid()
    for row in (0, 1):
        np.testing.assert_allclose(panel(picture, row, 5, columns=6), grey(fused[row]), atol=1)


def test_tiny_photos(data, tmp_path):
    data = {"pred": torch.rand(8, 20, 30), "image": data["image"][:, :20, :30], "id": "eye"}
    SaveSideOutputsd("pred", tmp_path, LESIONS, BRANCHES)(data)
    assert (tmp_path / "eye.png").exists()


@pytest.mark.parametrize("key", ["pred", "label"])
def test_other_shapes(data, tmp_path, key):
    data[key] = data[key][1:]
    with pytest.raises(ValueError, match="shapes have to be"):
        SaveSideOutputsd("pred", tmp_path / "out", LESIONS, BRANCHES)(data)
    assert not (tmp_path / "out").exists()


def test_bad_names(data, tmp_path):
    with pytest.raises(InputError, match="cannot name"):
        SaveSideOutputsd("pred", tmp_path, LESIONS, BRANCHES)(data | {"id": "../eye"})
    with pytest.raises(ValueError, match="branches"):
        SaveSideOutputsd("pred", tmp_path, LESIONS, BRANCHES[:1])
    with pytest.raises(ValueError, match="hemorrhage"):
        SaveSideOutputsd("pred", tmp_path, ("microaneurysm", "hemorrhage"), BRANCHES)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        SaveSideOutputsd("pred", tmp_path / "file", LESIONS, BRANCHES)(data)


def test_missing_prediction(data, tmp_path):
    del data["pred"]
    assert SaveSideOutputsd("pred", tmp_path, LESIONS, BRANCHES, allow_missing_keys=True)(data) == data
    with pytest.raises(KeyError):
        SaveSideOutputsd("pred", tmp_path, LESIONS, BRANCHES)(data)
