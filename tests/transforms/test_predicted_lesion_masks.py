from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import CLASSES, LESION_CODES, LESIONS
from tinylesions.datasets.pseudo_labels import read_pseudo_masks
from tinylesions.transforms import LoadPhotod, PredictedLesionsd, SavePseudoMasksd
from tinylesions.transforms.resize_modes import enlarge_mask

SIZE = (12, 17)


def softmax(classes: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(classes, *SIZE, generator=torch.Generator().manual_seed(seed)).softmax(dim=0)


@pytest.mark.parametrize("classes", [CLASSES[:5], CLASSES])
@pytest.mark.parametrize("kind", [torch.Tensor, MetaTensor])
def test_lesions_and_masks_against_a_loop(classes, kind):
    probabilities = softmax(len(classes))
    probabilities[:, 0, 0] = 1 / len(classes)
    data = {"pred": kind(probabilities.clone()), "id": "eye"}
    found = PredictedLesionsd("pred", "masks", classes)(data)
    assert found.keys() == {"pred", "id", "masks"}
    assert found["masks"].dtype == torch.uint8
    assert found["masks"].shape == found["pred"].shape == (4, *SIZE)
    for channel, lesion in enumerate(LESIONS):
        own = probabilities[classes.index(lesion)]
        assert torch.equal(torch.as_tensor(found["pred"][channel]), own)
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                values = probabilities[:, y, x].tolist()
                assert found["masks"][channel, y, x] == (classes[values.index(max(values))] == lesion)
        assert 0 < found["masks"][channel].sum() < found["masks"][channel].numel()
    assert torch.equal(torch.as_tensor(data["pred"]), probabilities)
    assert "masks" not in data


def test_each_prediction_has_its_own_masks():
    data = {"small": softmax(5, seed=1), "full": softmax(5, seed=2)}
    both = PredictedLesionsd(["small", "full"], ["small_masks", "full_masks"])(data)
    for key in ("small", "full"):
        alone = PredictedLesionsd(key, "masks")({key: data[key]})
        assert torch.equal(both[f"{key}_masks"], alone["masks"])
        assert torch.equal(both[key], alone[key])
    assert not torch.equal(both["small_masks"], both["full_masks"])


def test_a_network_that_only_grades():
    transform = PredictedLesionsd("pred", "masks", allow_missing_keys=True)
    assert transform({"id": "eye"}) == {"id": "eye"}
    with pytest.raises(KeyError, match="pred"):
        PredictedLesionsd("pred", "masks")({"id": "eye"})


def test_wrong_arguments():
    with pytest.raises(ValueError, match="length 2, got 3"):
        PredictedLesionsd(["small", "full"], ["a", "b", "c"])
    with pytest.raises(ValueError, match="zip"):
        PredictedLesionsd("pred", "masks")({"pred": softmax(6)})


@pytest.fixture
def photo(tmp_path) -> MetaTensor:
    """A loaded photo of 30 × 40 pixels."""
    path = tmp_path / "photos" / "eye.png"
    path.parent.mkdir()
    Image.new("RGB", (40, 30)).save(path)
    return LoadPhotod("image")({"image": path})["image"]


def files(folder: Path) -> dict[str, np.ndarray]:
    """Every file below a folder, read by Pillow alone."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.name: np.asarray(Image.open(path)) > 0 for path in paths}


@pytest.mark.parametrize("kind", [torch.as_tensor, MetaTensor, np.asarray])
def test_masks_are_written_lesion_by_lesion(tmp_path, kind, photo):
    masks = torch.stack([softmax(5)[channel] > 0.3 for channel in range(4)]).to(torch.uint8)
    masks[1] = 0
    data = {"masks": kind(masks), "id": "eye 7", "image": photo}
    assert SavePseudoMasksd("masks", tmp_path / "out")(data).keys() == data.keys()
    expected = {
        f"eye 7_{LESION_CODES[lesion]}.tif": mask.numpy() > 0
        for lesion, mask in zip(LESIONS, enlarge_mask(masks, (30, 40)), strict=True)
        if mask.any()
    }
    found = files(tmp_path / "out")
    assert found.keys() == expected.keys()
    assert len(expected) == 3
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)
    assert set(read_pseudo_masks(tmp_path / "out", "eye 7")) == set(LESIONS) - {"haemorrhage"}


def test_photos_one_after_the_other(tmp_path, photo):
    save = SavePseudoMasksd("masks", tmp_path / "out", id_key="name", photo_key="photo")
    masks = torch.ones(4, *SIZE, dtype=torch.uint8)
    for name in ("a", "b"):
        save({"masks": masks, "name": name, "photo": photo})
    save({"masks": 0 * masks, "name": "a", "photo": photo})
    assert files(tmp_path / "out").keys() == {f"b_{code}.tif" for code in LESION_CODES.values()}


def test_refused(tmp_path, photo):
    masks = torch.ones(4, *SIZE, dtype=torch.uint8)
    with pytest.raises(InputError, match="cannot name"):
        SavePseudoMasksd("masks", tmp_path / "out")({"masks": masks, "id": "../eye", "image": photo})
    with pytest.raises(ValueError, match="masks must be bool"):
        SavePseudoMasksd("masks", tmp_path / "out")({"masks": masks[:3], "id": "eye", "image": photo})
    with pytest.raises(KeyError):
        SavePseudoMasksd("masks", tmp_path / "out")({"id": "eye"})
    assert not (tmp_path / "out").exists()
