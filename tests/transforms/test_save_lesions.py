from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import CLASSES, LESIONS, OCTA_LESIONS
from tinylesions.transforms.field_of_view import field_of_view_mask
from tinylesions.transforms.lesion_colours import PALETTE
from tinylesions.transforms.lesion_table import COLUMNS, lesion_components
from tinylesions.transforms.save_lesions import SaveLesionsd

FILES = sorted(
    [*(f"{lesion}.png" for lesion in LESIONS), "label_map.png", "lesions.csv", "overlay.jpg", "summary.json"]
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def data(tmp_path):
    """A photo with a round field of view that is wider than high, and a prediction of random blocks."""
    height, width = 120, 200
    y, x = np.mgrid[:height, :width]
    field_of_view = (y - 60) ** 2 + (x - 90) ** 2 < 55**2
    photo = np.where(field_of_view[..., None], (190, 90, 30), (0, 0, 0)).astype(np.uint8)
    path = tmp_path / "in" / "eye.png"
    path.parent.mkdir()
    Image.fromarray(photo).save(path)
    blocks = torch.randn(len(CLASSES), 15, 25, generator=torch.Generator().manual_seed(0)) * 3
    logits = torch.nn.functional.interpolate(blocks[None], scale_factor=8, mode="bilinear")[0]
    return {
        "pred": MetaTensor(logits.softmax(dim=0)),
        "field_of_view": torch.from_numpy(field_of_view[None].astype(np.uint8)),
        "photo": str(path),
        "id": "eye",
    }


def expected_label_map(data) -> np.ndarray:
    label_map = np.argmax(data["pred"].numpy(), axis=0).astype(np.uint8)
    label_map[data["field_of_view"][0].numpy() == 0] = CLASSES.index("black_background")
    return label_map


def test_returns_the_data_and_the_folder(data, tmp_path):
    before = dict(data)
    result = SaveLesionsd("pred", tmp_path / "out")(data)
    assert result == before | {"output": str(tmp_path / "out" / "eye")}
    assert data == before
    assert names(tmp_path / "out") == ["eye"]
    assert names(tmp_path / "out" / "eye") == FILES


def test_probabilities_come_back(data, tmp_path):
    data["pred"][:, 0, 0] = torch.tensor([0, 1.0001, -0.0001, 1, 0.5, 0])  # stitching may leave [0, 1]
    folder = Path(SaveLesionsd("pred", tmp_path / "out")(data)["output"])
    for channel, lesion in enumerate(LESIONS, start=1):
        with Image.open(folder / f"{lesion}.png") as image:
            assert image.mode == "I;16"
            stored = np.asarray(image)
        expected = np.round(data["pred"][channel].numpy().astype(np.float64).clip(0, 1) * 65535)
        # float32 may round the other way when the product lies at a half
        assert np.abs(stored.astype(np.float64) - expected).max() <= 1
        assert (stored == expected).mean() > 0.99
    assert np.asarray(Image.open(folder / "microaneurysm.png"))[0, 0] == 65535
    assert np.asarray(Image.open(folder / "haemorrhage.png"))[0, 0] == 0


def test_label_map_is_the_argmax_inside_the_field_of_view(data, tmp_path):
    folder = Path(SaveLesionsd("pred", tmp_path / "out")(data)["output"])
    expected = expected_label_map(data)
    assert len(np.unique(expected)) == len(CLASSES)
    bit_depth = (folder / "label_map.png").read_bytes()[24]
    assert bit_depth == 8
    with Image.open(folder / "label_map.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), expected)
        colours = np.asarray(image.convert("RGB"))
    for lesion in LESIONS:
        np.testing.assert_array_equal((colours == PALETTE[lesion]).all(-1), expected == CLASSES.index(lesion))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(data, tmp_path, dtype):
    data["pred"] = data["pred"].as_tensor().to(dtype)
    folder = Path(SaveLesionsd("pred", tmp_path / "out")(data)["output"])
    stored = np.asarray(Image.open(folder / "soft_exudate.png")) / 65535
    soft_exudate = data["pred"][CLASSES.index("soft_exudate")].float().numpy()
    np.testing.assert_allclose(stored, soft_exudate, atol=1e-5)


def test_lesion_table(data, tmp_path):
    data["id"] = "007"
    folder = Path(SaveLesionsd("pred", tmp_path / "out")(data)["output"])
    table = pd.read_csv(folder / "lesions.csv", dtype={"photo": str})
    assert list(table) == ["photo", *COLUMNS]
    assert set(table["photo"]) == {"007"}
    masks = np.stack([expected_label_map(data) == CLASSES.index(lesion) for lesion in LESIONS])
    expected = lesion_components(masks, data["pred"].numpy()[1:5])
    pd.testing.assert_frame_equal(table.drop(columns="photo"), expected, rtol=1e-5)


def test_summary(data, tmp_path):
    folder = Path(SaveLesionsd("pred", tmp_path / "a")(data)["output"])
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert (summary["photo"], summary["file"]) == ("eye", data["photo"])
    assert (summary["height"], summary["width"]) == (120, 200)
    assert summary["field_of_view_area_px"] == int(data["field_of_view"].sum())
    for lesion in LESIONS:
        assert summary[f"{lesion}_area_px"] == (expected_label_map(data) == CLASSES.index(lesion)).sum()
    assert "seconds" not in summary
    timed = data | {"seconds": torch.tensor(2.5), "windows": np.int64(77), "windows_skipped": 5}
    folder = Path(SaveLesionsd("pred", tmp_path / "b")(timed)["output"])
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert (summary["seconds"], summary["windows"], summary["windows_skipped"]) == (2.5, 77, 5)


@pytest.mark.parametrize("lesions", [("microaneurysm", "haemorrhage"), ("soft_exudate", "microaneurysm")])
def test_sigmoid_of_some_lesions(data, tmp_path, lesions):
    probabilities = torch.nn.functional.interpolate(
        torch.rand(1, 2, 15, 25, generator=torch.Generator().manual_seed(1)), scale_factor=8, mode="bilinear"
    )[0]
    data["pred"] = MetaTensor(probabilities)
    folder = Path(SaveLesionsd("pred", tmp_path / "out", lesions=list(lesions))(data)["output"])
    others = {f"{lesion}.png" for lesion in LESIONS if lesion not in lesions}
    assert names(folder) == [name for name in FILES if name not in others]
    values = probabilities.numpy()
    expected = np.where(values[0] >= values[1], *(CLASSES.index(lesion) for lesion in lesions)).astype(np.uint8)
    expected[values.max(axis=0) < 0.5] = CLASSES.index("other")
    expected[data["field_of_view"][0].numpy() == 0] = CLASSES.index("black_background")
    assert len(np.unique(expected)) == 4
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "label_map.png")), expected)
    for lesion, probability in zip(lesions, values, strict=True):
        stored = np.asarray(Image.open(folder / f"{lesion}.png")) / 65535
        np.testing.assert_allclose(stored, probability, atol=1e-5)
    table = pd.read_csv(folder / "lesions.csv")
    assert set(table["lesion"]) == set(lesions)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert [key for key in summary if key.endswith("_count")] == [f"{lesion}_count" for lesion in lesions]
    for lesion in lesions:
        assert summary[f"{lesion}_count"] == (table["lesion"] == lesion).sum() > 0
        assert summary[f"{lesion}_area_px"] == (expected == CLASSES.index(lesion)).sum()


def test_the_label_map_heeds_the_thresholds(data, tmp_path):
    lesions = ("microaneurysm", "haemorrhage")
    data["pred"] = torch.zeros(2, 120, 200)
    for column, values in zip((60, 80, 100, 120), ((0.3, 0.6), (0.3, 0.1), (0.05, 0.45), (0.3, 0.99)), strict=True):
        data["pred"][:, 50:60, column : column + 10] = torch.tensor(values)[:, None, None]
    thresholds = {"haemorrhage": 0.5, "microaneurysm": 0.1}
    folder = Path(SaveLesionsd("pred", tmp_path / "out", lesions=lesions, thresholds=thresholds)(data)["output"])
    label_map = np.asarray(Image.open(folder / "label_map.png"))
    found = [CLASSES[label_map[55, column + 5]] for column in (60, 80, 100, 120)]
    assert found == ["microaneurysm", "microaneurysm", "other", "haemorrhage"]
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert list(summary["thresholds"].items()) == [("microaneurysm", 0.1), ("haemorrhage", 0.5)]
    assert [summary[f"{lesion}_area_px"] for lesion in lesions] == [200, 100]


def test_softmax_without_black_background(data, tmp_path):
    data["pred"] = data["pred"][:5].softmax(dim=0)
    folder = Path(SaveLesionsd("pred", tmp_path / "out", classes=list(CLASSES[:5]))(data)["output"])
    expected = expected_label_map(data)
    assert set(np.unique(expected)) == set(range(6))  # black outside of the retina all the same
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "label_map.png")), expected)
    for channel, lesion in enumerate(LESIONS, start=1):
        stored = np.asarray(Image.open(folder / f"{lesion}.png")) / 65535
        np.testing.assert_allclose(stored, data["pred"][channel].numpy(), atol=1e-5)
    with pytest.raises(ValueError, match=r"\(6, 120, 200\)"):
        SaveLesionsd("pred", tmp_path / "out")(data)
    with pytest.raises(ValueError, match="classes are"):
        SaveLesionsd("pred", tmp_path / "out", classes=LESIONS)


def test_a_label_map_of_the_whole_frame(data, tmp_path):
    folder = Path(SaveLesionsd("pred", tmp_path, field_of_view_key=None)(data)["output"])
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "label_map.png")), data["pred"].numpy().argmax(0))


def test_what_excludes_each_other_and_what_does_not(tmp_path):
    with pytest.raises(ValueError, match="softmax exclude each other"):
        SaveLesionsd("pred", tmp_path, exclusive=False)
    with pytest.raises(ValueError, match="exclusive=False"):
        SaveLesionsd("pred", tmp_path, lesions=OCTA_LESIONS)


FACTS = {"grade": 3, "grade_name": "severe", "grade_probability_3": 0.6, "referable": True}


def test_facts_and_evidence(data, tmp_path):
    evidence = torch.zeros(1, 120, 200)
    evidence[0, 60:, :] = 1
    graded = data | {"facts": FACTS, "pred_grade_evidence": MetaTensor(evidence)}
    folder = Path(SaveLesionsd("pred", tmp_path / "a")(graded)["output"])
    assert names(folder) == sorted([*FILES, "grade_evidence.jpg"])
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert {name: summary[name] for name in FACTS} == FACTS
    with Image.open(folder / "grade_evidence.jpg") as image:
        assert (image.format, image.mode, image.width) == ("JPEG", "RGB", 200)
        difference = np.abs(np.asarray(image)[:120].astype(int) - np.asarray(Image.open(data["photo"]))).max(axis=-1)
    assert difference[:50].mean() < 6 < 60 < difference[70:].mean()
    plain = Path(SaveLesionsd("pred", tmp_path / "b")(data)["output"])
    assert names(plain) == FILES
    assert (plain / "lesions.csv").read_bytes() == (folder / "lesions.csv").read_bytes()


def test_evidence_of_another_size_leaves_no_folder(data, tmp_path):
    data |= {"facts": FACTS, "pred_grade_evidence": torch.zeros(1, 12, 20)}
    with pytest.raises(ValueError, match="of one size"):
        SaveLesionsd("pred", tmp_path / "out")(data)
    assert not (tmp_path / "out").exists()


def test_sigmoid_needs_a_channel_for_each_lesion(data, tmp_path):
    with pytest.raises(ValueError, match=r"\(2, 120, 200\)"):
        SaveLesionsd("pred", tmp_path / "out", lesions=LESIONS[:2])(data)
    with pytest.raises(ValueError, match="hemorrhage"):
        SaveLesionsd("pred", tmp_path / "out", lesions=["hemorrhage"])


def test_overlay_is_a_jpeg_of_the_photos_size(data, tmp_path):
    folder = Path(SaveLesionsd("pred", tmp_path / "out")(data)["output"])
    with Image.open(folder / "overlay.jpg") as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (200, 120))


def test_an_older_folder_is_replaced(data, tmp_path):
    (tmp_path / "out" / "eye").mkdir(parents=True)
    (tmp_path / "out" / "eye" / "stale.txt").write_text("stale")
    SaveLesionsd("pred", tmp_path / "out")(data)
    assert names(tmp_path / "out") == ["eye"]
    assert names(tmp_path / "out" / "eye") == FILES


@pytest.mark.parametrize(
    "photo_id", ["", ".", "..", "../eye", "a/b", "a\\b", "C:eye", ".hidden", "a\nb", "a\0b", "eye "]
)
def test_odd_ids(data, tmp_path, photo_id):
    data["id"] = photo_id
    with pytest.raises(InputError, match="cannot name a folder"):
        SaveLesionsd("pred", tmp_path / "out")(data)
    assert names(tmp_path) == ["in"]


@pytest.mark.parametrize("photo_id", ["IDRiD_03", "eye (2).left", "œil gauche", 12])
def test_usual_ids(data, tmp_path, photo_id):
    data["id"] = photo_id
    SaveLesionsd("pred", tmp_path / "out")(data)
    assert names(tmp_path / "out") == [str(photo_id)]


def test_a_prediction_of_another_size(data, tmp_path):
    data["pred"] = data["pred"].transpose(1, 2)
    with pytest.raises(ValueError, match=r"eye\.png.*\(6, 120, 200\)"):
        SaveLesionsd("pred", tmp_path / "out")(data)
    assert not (tmp_path / "out").exists()


def test_a_photo_that_is_gone(data, tmp_path):
    data["photo"] = str(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match=r"gone\.jpg"):
        SaveLesionsd("pred", tmp_path / "out")(data)
    assert not (tmp_path / "out").exists()


def test_missing_prediction(data, tmp_path):
    del data["pred"]
    assert SaveLesionsd("pred", tmp_path / "out", allow_missing_keys=True)(data) == data
    with pytest.raises(KeyError):
        SaveLesionsd("pred", tmp_path / "out")(data)


def test_output_below_a_file(data, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        SaveLesionsd("pred", tmp_path / "out")(data)
    assert (tmp_path / "out").read_text() == "mine"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """What a full disk is like: writing beyond ``size`` bytes fails. The soft limit can be set back."""
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of a file")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("too_large", ["haemorrhage.png", "overlay.jpg"])
def test_full_disk(data, tmp_path, too_large):
    if too_large == "overlay.jpg":  # maps of one value are small, a photo of noise is not
        data["pred"] = torch.zeros(len(CLASSES), 120, 200).index_fill(0, torch.tensor(0), 1.0)
        noise = np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8)
        Image.fromarray(noise).save(data["photo"])
    with largest_file(8000), pytest.raises(InputError, match=r"File too large.*: free some space") as caught:
        SaveLesionsd("pred", tmp_path / "out")(data)
    assert str(tmp_path / "out" / "eye") in str(caught.value)
    assert names(tmp_path / "out") == []
    sizes = {path.name: path.stat().st_size for path in Path(SaveLesionsd("pred", tmp_path)(data)["output"]).iterdir()}
    assert sizes[too_large] > 8000
    assert too_large == "haemorrhage.png" or sum(size > 8000 for size in sizes.values()) == 1


@pytest.mark.skipif("TINYLESIONS_REAL_DATA" not in os.environ, reason="TINYLESIONS_REAL_DATA is not set")
def test_a_real_photo(tmp_path):
    root = Path(os.environ["TINYLESIONS_REAL_DATA"])
    path = next(root.rglob("IDRiD_03.jpg"))
    with Image.open(path) as image:
        field_of_view = field_of_view_mask(np.moveaxis(np.asarray(image), -1, 0))
    truth = np.asarray(Image.open(next(root.rglob("IDRiD_03_HE.tif"))))
    haemorrhage = torch.from_numpy(truth.astype(np.float32))
    pred = torch.zeros(len(CLASSES), *truth.shape)
    pred[CLASSES.index("other")] = 1 - haemorrhage
    pred[CLASSES.index("haemorrhage")] = haemorrhage
    data = {"pred": pred, "id": "IDRiD_03", "photo": str(path), "field_of_view": torch.from_numpy(field_of_view[None])}
    folder = Path(SaveLesionsd("pred", tmp_path)(data)["output"])
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["haemorrhage_area_px"] == (truth.astype(bool) & field_of_view).sum() > 100_000
    with Image.open(folder / "overlay.jpg") as image:
        overlay = np.asarray(image).astype(int)
    with Image.open(path) as image:
        difference = np.abs(overlay - np.asarray(image)).max(axis=-1)
    # inside a lesion, away from its outline, only the JPEG's own error is seen
    inside = truth.astype(bool)
    inside[:-16] &= inside[16:]
    inside[16:] &= inside[:-16]
    inside[:, :-16] &= inside[:, 16:]
    inside[:, 16:] &= inside[:, :-16]
    assert inside.any()
    assert np.median(difference[inside]) < 10
