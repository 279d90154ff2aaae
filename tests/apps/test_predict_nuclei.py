"""`tinylesions predict` with the bundle for nuclei: tiles, two networks, three results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from tinylesions.monai_bundles import BUNDLES, find_bundle

from .conftest import Answer, CopiedBundle

CLASSES = ["background", "plasma", "connective"]
BUNDLE = "pathology_nuclei_imbalance_segmentation"
FILES = {"multi_class.png", "binary.png", "combined.png", "foreground.png", "overlay.jpg", "nuclei.csv", "summary.json"}
STAND_INS = {
    "device": "$torch.device('cpu')",
    "precision": "float32",
    "roi_size": [64, 64],
    "architectures": {"multi_class": "convolution", "binary": "convolution"},
    "network_types": {
        "convolution": {
            "_target_": "torch.nn.Conv2d",
            "_mode_": "callable",
            "in_channels": 3,
            "kernel_size": 1,
        }
    },
}
"""The bundle's own inference with networks that the test can compute by itself."""
SIZES = {"a": (64, 64), "odd": (50, 133), "tiny": (30, 40), "grey": (70, 64), "rgba": (64, 70)}


def make_network(channels: int) -> nn.Conv2d:
    torch.manual_seed(channels)
    network = nn.Conv2d(3, channels, 1)
    nn.init.normal_(network.weight, std=6)
    nn.init.zeros_(network.bias)
    with torch.no_grad():
        # sums to zero: the sign of the binary logit depends on colour, not on brightness
        network.weight -= network.weight.mean(1, keepdim=True)
    return network


def write_record(folder: Path, classes: list[str]) -> None:
    record = {"class_names": classes, "spatial_size": [-1, -1], "networks": {}}
    (folder / "training.json").write_text(json.dumps(record), encoding="utf-8")


@pytest.fixture
def models(tmp_path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    torch.save(make_network(len(CLASSES)).state_dict(), folder / "multi_class.pt")
    torch.save(make_network(1).state_dict(), folder / "binary.pt")
    write_record(folder, CLASSES)
    return folder


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> CopiedBundle:
    own = find_bundle(BUNDLE)
    folder = tmp_path / "nuclei"
    (folder / "configs").mkdir(parents=True)
    config = json.loads(Path(own.config_files("inference")[0]).read_text(encoding="utf-8"))
    (folder / "configs" / "inference.json").write_text(json.dumps({**config, **STAND_INS}), encoding="utf-8")
    (folder / "configs" / "metadata.json").write_text('{"version": "0.0.1"}', encoding="utf-8")
    copied = CopiedBundle(folder.name, own.title, own.classes, folder, item=own.item, table=own.table)
    monkeypatch.setitem(BUNDLES, copied.name, copied)
    return copied


@pytest.fixture
def tiles(tmp_path) -> Path:
    folder = tmp_path / "tiles"
    folder.mkdir()
    for number, (name, (height, width)) in enumerate(SIZES.items()):
        coarse = np.random.default_rng(number).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        image.convert({"grey": "L", "rgba": "RGBA"}.get(name, "RGB")).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def run(tinylesions, bundle, tiles, tmp_path):
    def predict(weights: Path, *arguments: object, inputs: Path = tiles) -> Answer:
        options = ("--bundle", bundle.name, "--out", tmp_path / "out", "--weights", weights)
        return tinylesions("predict", inputs, *options, *arguments)

    return predict


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_words_and_files(run, models, tmp_path):
    answer = run(models)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "5 tiles: at most 9 windows of 64×64 px, overlap 0.25",
        "[1/5] a.png: 64×64 px, 1 window",
        "[2/5] grey.png: 64×70 px, 2 windows",
        "[3/5] odd.png: 133×50 px, 3 windows",
        "[4/5] rgba.png: 70×64 px, 2 windows",
        "[5/5] tiny.png: 40×30 px, 1 window",
        f"5 tiles predicted: see {tmp_path / 'out'}",
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*SIZES, "nuclei.csv", "tiles.csv", "run.json"}
    for name in SIZES:
        assert {path.name for path in (tmp_path / "out" / name).iterdir()} == FILES


def test_results_are_those_of_the_networks_pixel_by_pixel(run, models, tiles, tmp_path):
    run(models)
    seen = set()
    for name, size in SIZES.items():
        with Image.open(tiles / f"{name}.png") as image:
            pixels = np.asarray(image.convert("RGB")) / np.float32(255)
        assert pixels.shape[:2] == size
        tile = torch.from_numpy(pixels.transpose(2, 0, 1))[None]
        with torch.no_grad():
            classes = make_network(3)(tile)[0].argmax(0).numpy()
            binary = make_network(1)(tile)[0, 0].numpy()
        folder = tmp_path / "out" / name
        sure = np.abs(binary) > 1e-4
        assert sure.mean() > 0.9 or name == "grey"  # of grey pixels both networks know nothing
        if name != "grey":
            assert (read(folder / "multi_class.png") == classes).mean() > 0.999
            assert (read(folder / "binary.png") == (binary > 0))[sure].all()
        maps = {result: read(folder / f"{result}.png") for result in ("multi_class", "binary", "combined")}
        np.testing.assert_array_equal(maps["combined"], maps["multi_class"] * maps["binary"])
        seen |= set(maps["combined"].ravel().tolist())
    assert seen == {0, 1, 2}


def test_tables(run, models, tmp_path):
    run(models)
    tiles = pd.read_csv(tmp_path / "out" / "tiles.csv").set_index("tile")
    nuclei = pd.read_csv(tmp_path / "out" / "nuclei.csv")
    assert set(tiles.index) == set(SIZES)
    assert len(nuclei) > 5
    for name, row in tiles.iterrows():
        assert (row["height"], row["width"]) == SIZES[str(name)]
        for class_ in CLASSES[1:]:
            own = nuclei[(nuclei["tile"] == name) & (nuclei["nucleus_class"] == class_)]
            assert (row[f"{class_}_count"], row[f"{class_}_area_px"]) == (len(own), own["area_px"].sum())


@pytest.mark.parametrize("model", ["multi_class", "binary"])
def test_one_network_alone(run, models, tmp_path, model):
    folders = tmp_path / "out"
    run(models)
    both = read(folders / "odd" / f"{model}.png")
    answer = run(models / f"{model}.pt")
    assert answer.code == 0
    written = {path.name for path in (folders / "odd").iterdir()}
    assert {name for name in written if name.endswith("class.png") or name == "binary.png"} == {f"{model}.png"}
    assert "combined.png" not in written
    np.testing.assert_array_equal(read(folders / "odd" / f"{model}.png"), both)
    assert set(pd.read_csv(folders / "tiles.csv")["result"]) == {model}


def test_what_is_done_is_kept_until_the_classes_change(run, models, tmp_path):
    run(models)
    assert run(models).out.splitlines()[-1].startswith("0 tiles predicted, 5 already done")
    write_record(models, [*CLASSES[:2], "macrophage"])
    assert "5 tiles predicted" in run(models).out
    assert "macrophage_count" in pd.read_csv(tmp_path / "out" / "tiles.csv")


def test_white_and_black_tiles_are_not_skipped(run, models, tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    for name, value in (("white", 255), ("black", 0)):
        Image.fromarray(np.full((100, 90, 3), value, dtype=np.uint8)).save(folder / f"{name}.tif")
    answer = run(models, inputs=folder)
    assert answer.out.splitlines()[1:3] == [
        f"[{i}/2] {n}.tif: 90×100 px, 4 windows" for i, n in ((1, "black"), (2, "white"))
    ]


def test_a_bad_tile_does_not_stop_the_others(run, models, tiles, tmp_path):
    (tiles / "bad.png").write_bytes(b"nothing")
    answer = run(models)
    assert answer.code == 2
    assert answer.out.splitlines()[-1].startswith("5 tiles predicted")
    assert answer.err.startswith("1 tile left out")
    assert pd.read_csv(tmp_path / "out" / "errors.csv")["file"].tolist() == [str(tiles / "bad.png")]


@pytest.mark.parametrize("name", ["images.npy", "IMAGES.NPY"])
def test_an_array_of_tiles_is_refused(run, models, tiles, tmp_path, name):
    np.save(tmp_path / "images.npy", np.zeros((2, 64, 64, 3), np.uint8))
    (tmp_path / "images.npy").rename(tmp_path / name)
    words = "tiles are image files; those of a CoNIC array are predicted by the bundle's evaluate config with"
    assert f"{tmp_path / name}: {words} --save_predictions True." in run(models, inputs=tmp_path / name).problem
    assert not (tmp_path / "out").exists()


def test_a_stretched_tile_comes_back_at_its_own_size(run, models, bundle, tmp_path):
    path = bundle.folder / "configs" / "inference.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "spatial_size": [96, 96]}), encoding="utf-8")
    answer = run(models)
    assert answer.out.splitlines()[0] == "5 tiles: at most 20 windows of 64×64 px, overlap 0.25"
    assert answer.out.splitlines()[5] == "[5/5] tiny.png: 96×96 px, 4 windows"
    for name, size in SIZES.items():
        assert read(tmp_path / "out" / name / "combined.png").shape == size
