"""The folder of a tile is written whole, and its files agree with each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from skimage.measure import label

from tinylesions.datasets.errors import InputError
from tinylesions.transforms import (
    NUCLEI_COLOURS,
    NucleiClassMapsd,
    NucleiProbabilitiesd,
    SaveNucleid,
    draw_nuclei,
    nuclei_instances,
    nuclei_results,
    save_nuclei,
)

CLASSES = ("background", "plasma", "connective", "macrophage")
BOTH = ("multi_class", "binary")
HEIGHT, WIDTH = 50, 67
COMMON = {"overlay.jpg", "nuclei.csv", "summary.json"}


def blobs(seed: int, size: tuple[int, int]) -> torch.Tensor:
    """Smooth random logits, so that there are nuclei."""
    coarse = 8 * torch.randn(1, 5, 8, 10, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0]


def predicted(folder: Path, models=BOTH, size=(HEIGHT, WIDTH), seed=0, mode="RGB", **more) -> dict:
    tile = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(tile).convert(mode).save(folder / "tile.png")
    channels = {BOTH: slice(5), ("multi_class",): slice(4), ("binary",): slice(4, 5)}[tuple(models)]
    data = {"pred": MetaTensor(blobs(seed, size)[channels]), "id": "tile", "photo": str(folder / "tile.png"), **more}
    return NucleiClassMapsd("pred", models)(NucleiProbabilitiesd("pred", models)(data))


def save(folder: Path, data: dict, models=BOTH, **options) -> Path:
    saved = SaveNucleid("pred", folder / "out", CLASSES, models, **options)(data)
    assert saved["output"] == str(folder / "out" / "tile")
    return Path(saved["output"])


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (250, 333), (30, 40)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_files_of_both_networks(tmp_path, size, mode):
    data = predicted(tmp_path, size=size, mode=mode)
    folder = save(tmp_path, data)
    assert names(folder) == {"multi_class.png", "binary.png", "combined.png", "foreground.png"} | COMMON
    maps = {name: read(folder / f"{name}.png") for name in nuclei_results(BOTH)}
    for name, map_ in maps.items():
        assert map_.dtype == np.uint8
        np.testing.assert_array_equal(map_, data[name].numpy()[0])
    foreground = read(folder / "foreground.png")
    assert foreground.dtype == np.uint16
    np.testing.assert_allclose(foreground / 65535, data["pred"][-1].numpy(), atol=1e-5)
    np.testing.assert_array_equal(maps["binary"], foreground > 32767)
    np.testing.assert_array_equal(maps["combined"], np.where(foreground > 32767, maps["multi_class"], 0))
    assert names(tmp_path / "out") == {"tile"}


def test_table_and_summary_are_of_the_combined_map(tmp_path):
    folder = save(tmp_path, predicted(tmp_path, size=(200, 300)), minimum_area=30)
    combined, multi_class = read(folder / "combined.png"), read(folder / "multi_class.png")
    table, summary = pd.read_csv(folder / "nuclei.csv"), summary_of(folder)
    assert (table["tile"] == "tile").all()
    assert table["nucleus"].tolist() == list(range(1, len(table) + 1))
    for index, name in enumerate(CLASSES[1:], start=1):
        pieces = label(combined == index, connectivity=1)
        areas = sorted(area for area in np.bincount(pieces.ravel())[1:] if area >= 30)
        assert sorted(table.loc[table["nucleus_class"] == name, "area_px"]) == areas
        assert (summary[f"{name}_count"], summary[f"{name}_area_px"]) == (len(areas), sum(areas))
    assert len(table) > 10
    assert summary["result"] == "combined"
    assert (summary["height"], summary["width"]) == (200, 300)
    assert summary["background_share"] == pytest.approx((combined == 0).mean(), abs=1e-6)
    assert summary["reuse_removed_px"] == ((multi_class > 0) & (combined == 0)).sum() > 0
    assert not {"seconds", "windows", "index"} & set(summary)


def test_overlay_is_that_of_the_combined_map(tmp_path):
    folder = save(tmp_path, predicted(tmp_path))
    nuclei = nuclei_instances(read(folder / "combined.png"))
    counts = {name: summary_of(folder)[f"{name}_count"] for name in CLASSES[1:]}
    expected = draw_nuclei(read(tmp_path / "tile.png"), nuclei, CLASSES, counts, "combined result")
    assert np.abs(read(folder / "overlay.jpg").astype(int) - expected).mean() < 12


@pytest.mark.parametrize("model", BOTH)
def test_of_one_network_there_is_only_its_result(tmp_path, model):
    folder = save(tmp_path, predicted(tmp_path, [model]), [model])
    maps = {"multi_class.png"} if model == "multi_class" else {"binary.png", "foreground.png"}
    assert names(folder) == maps | COMMON
    classes = CLASSES[1:] if model == "multi_class" else ("foreground",)
    summary = summary_of(folder)
    assert summary["result"] == model
    assert {key for key in summary if key.endswith("_count")} == {f"{name}_count" for name in classes}
    assert not [key for key in summary if key.startswith("reuse")]
    table = pd.read_csv(folder / "nuclei.csv")
    assert set(table["nucleus_class"]) <= set(classes)
    assert len(table) > 1
    assert (table["mean_probability"] > 1 / len(CLASSES)).all()


def test_class_maps_have_the_colours_of_the_overlay(tmp_path):
    folder = save(tmp_path, predicted(tmp_path))
    with Image.open(folder / "combined.png") as image:
        assert image.mode == "P"
        colours = np.asarray(image.convert("RGB"))
    numbers = read(folder / "combined.png")
    for number, name in enumerate(CLASSES):
        wanted = NUCLEI_COLOURS.get(name, (0, 0, 0))
        assert (numbers == number).any()
        assert (colours[numbers == number] == wanted).all()


def test_a_tile_without_nuclei(tmp_path):
    data = predicted(tmp_path)
    data["combined"] = torch.zeros_like(data["combined"])
    folder = save(tmp_path, data)
    assert len(pd.read_csv(folder / "nuclei.csv")) == 0
    summary = summary_of(folder)
    assert summary["background_share"] == 1
    assert summary["plasma_count"] == summary["macrophage_area_px"] == 0
    assert summary["reuse_removed_nuclei"] > 0


def test_facts_and_a_tile_of_many(tmp_path):
    data = predicted(tmp_path, seconds=1.25, windows=4, index=torch.tensor(2))
    tiles = np.zeros((3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    tiles[2] = read(tmp_path / "tile.png")
    one = (save(tmp_path, data) / "overlay.jpg").read_bytes()
    assert "index" not in summary_of(tmp_path / "out" / "tile")
    np.save(tmp_path / "images.npy", tiles)
    folder = save(tmp_path, {**data, "photo": str(tmp_path / "images.npy")})
    assert (folder / "overlay.jpg").read_bytes() == one
    facts = {"seconds": 1.25, "windows": 4, "index": 2, "file": str(tmp_path / "images.npy")}
    assert facts.items() <= summary_of(folder).items()


def test_an_older_folder_is_replaced_only_by_a_whole_one(tmp_path, monkeypatch):
    folder = save(tmp_path, predicted(tmp_path))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save_nuclei, "write_table", fail)
    with pytest.raises(InputError, match="free some space"):
        save(tmp_path, predicted(tmp_path, seed=1))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert names(tmp_path / "out") == {"tile"}
    monkeypatch.undo()
    (folder / "stray.txt").write_text("old")
    save(tmp_path, predicted(tmp_path, seed=1))
    assert names(folder) == set(before)
    assert (folder / "combined.png").read_bytes() != before["combined.png"]


@pytest.mark.parametrize("change", ["size", "channels"])
def test_a_prediction_that_does_not_fit_the_tile(tmp_path, change):
    data = predicted(tmp_path)
    data["pred"] = data["pred"][:, 1:] if change == "size" else data["pred"][1:]
    with pytest.raises(InputError, match=r"^class_names: 'background' is no list"):
        SaveNucleid("pred", tmp_path, "background")
    with pytest.raises(ValueError, match=r"has to be \(5, 50, 67\)"):
        save(tmp_path, data)
    assert not (tmp_path / "out").exists()


def test_an_id_that_names_no_folder(tmp_path):
    with pytest.raises(InputError, match="cannot name a folder"):
        save(tmp_path, {**predicted(tmp_path), "id": "../tile"})
