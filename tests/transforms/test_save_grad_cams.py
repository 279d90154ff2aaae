from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from tinylesions.datasets.errors import InputError
from tinylesions.transforms import SaveGradCamsd
from tinylesions.transforms.heat import overlay_heat

HEIGHT, WIDTH = 120, 150
KEYS = [f"pred_cam_{task}_{layer}" for task in ("grade", "segmentation") for layer in (1, 2, 3)]


@pytest.fixture
def data(tmp_path_factory):
    generator = torch.Generator().manual_seed(0)
    file = tmp_path_factory.mktemp("photos") / "eye.png"
    colours = torch.randint(0, 256, (HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=generator).numpy()
    Image.fromarray(colours.repeat(2, axis=0)).save(file)  # the network's photo is stretched
    maps = {key: MetaTensor(torch.rand(1, HEIGHT, WIDTH, generator=generator)) for key in KEYS}
    image = MetaTensor(torch.randn(3, HEIGHT, WIDTH), meta={"filename_or_obj": str(file)})
    return {**maps, "image": image, "id": "eye"}


def test_each_panel(data, tmp_path):
    assert SaveGradCamsd(KEYS, tmp_path)(data) == data
    with Image.open(tmp_path / "eye.png") as image:
        picture = np.asarray(image)
    assert picture.shape[1] == 4 * (WIDTH + 4) - 4
    strip = (picture.shape[0] - 2 * (HEIGHT + 4)) // 5  # two titles, three lines of the scale
    with Image.open(data["image"].meta["filename_or_obj"]) as file:
        photo = np.asarray(file)[::2]
    titles = set()
    for row in range(2):
        top = row * (strip + HEIGHT + 4)
        for column in range(4):
            left = column * (WIDTH + 4)
            titles.add(picture[top : top + strip, left : left + WIDTH].tobytes())
            panel = picture[top + strip : top + strip + HEIGHT, left : left + WIDTH]
            expected = photo if column == 0 else overlay_heat(photo, data[KEYS[3 * row + column - 1]][0].numpy())
            np.testing.assert_array_equal(panel, expected)
    assert len(titles) == 8


def test_refused(data, tmp_path):
    with pytest.raises(ValueError, match="5 maps are no rows"):
        SaveGradCamsd(KEYS[:5], tmp_path)
    with pytest.raises(ValueError, match=r"pred_cam_grade_2 has to be \(1, 120, 150\)"):
        SaveGradCamsd(KEYS, tmp_path / "out")(data | {KEYS[1]: torch.zeros(1, 9, 9)})
    with pytest.raises(InputError, match="cannot name"):
        SaveGradCamsd(KEYS, tmp_path / "out")(data | {"id": "../eye"})
    with pytest.raises(KeyError):
        SaveGradCamsd(["pred_cam_x"], tmp_path / "out", rows=["Cls"])(data)
    assert not (tmp_path / "out").exists()
