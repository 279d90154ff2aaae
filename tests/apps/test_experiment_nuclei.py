"""`tinylesions experiment` with the bundle for nuclei: both networks, background reuse, what a training logs."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console

from tinylesions.apps.experiment import run_experiment
from tinylesions.apps.phantoms import write_phantoms
from tinylesions.datasets import CONIC_CLASSES, MONUSAC_CLASSES, class_frequencies, read_layout, select
from tinylesions.monai_bundles import Bundle, find_bundle

from .conftest import CopiedBundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    """A copy of the bundle whose cpu preset trains for a second."""
    bundle = find_bundle("pathology_nuclei_imbalance_segmentation")
    folder = Path(shutil.copytree(bundle.root, tmp_path_factory.mktemp("bundle") / bundle.name))
    path = folder / "configs" / "cpu.json"
    preset = json.loads(path.read_text(encoding="utf-8"))
    preset |= {"widths": [2, 2, 2, 2, 2], "max_epochs": 2, "val_interval": 1, "batch_size": 4}
    preset |= {"network_types#deeplabv3_plus#widths": [2, 2, 2, 2], "network_types#deeplabv3_plus#aspp_channels": 4}
    path.write_text(json.dumps(preset), encoding="utf-8")
    return CopiedBundle(bundle.name, bundle.title, bundle.classes, folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "conic"
    write_phantoms(folder, "conic", (8, 2, 2), (64, 64), seed=1)
    return folder


@pytest.fixture(scope="module")
def run(bundle, data) -> Callable[..., tuple[pd.DataFrame, str]]:
    """Run a table with the preset; gives the frame and what was printed."""

    def experiment(table: str, out: Path, data: Path = data, **options: object):
        printed = io.StringIO()
        console = Console(file=printed, width=400)
        return run_experiment(bundle, table, data, out, presets=["cpu"], console=console, **options), printed.getvalue()

    return experiment


def scores(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "scores.csv", index_col="score")


def test_a_row_of_the_grid(run, tmp_path):
    frame, _ = run("table_4_3", tmp_path, rows=["U-Net3+ / Focal", "AttU-Net / Dice"])
    for name, folder in (("U-Net3+ / Focal", "u_net3____focal"), ("AttU-Net / Dice", "attu_net___dice")):
        measured = scores(tmp_path / folder)
        assert (tmp_path / folder / "multi_class.pt").is_file()
        assert not (tmp_path / folder / "binary.pt").exists()
        assert {str(title).split(", ")[1] for title in measured.index} == {"multi_class"}
        for label in ("Dice", "IoU", "precision", "recall"):
            assert frame.loc[name, f"mean {label} measured"] == measured.loc[f"{label}, multi_class", "mean"]
        config = json.loads((tmp_path / folder / "train_config.json").read_text(encoding="utf-8"))
        assert (config["class_weight_scheme"]["multi_class"], config["hard_pixels"]) == (2, 512)
    assert frame["mean IoU measured"].notna().sum() == 2
    text = (tmp_path / "table_4_3.md").read_text(encoding="utf-8")
    assert "The photos are phantoms (drawings): the measured figures say nothing about tissue." in text


def test_overrides(run, data, tmp_path):
    """Own classes, as of a data set in CoNIC's layout, a split at random and another network: scored as trained."""
    names = ["background", "a", "b", "c", "d", "e", "f"]
    overrides = {"class_names": names, "split_rule": "random", "test_share": 0.25, "max_epochs": 1}
    overrides |= {"architectures#binary": "unet"}
    frame, _ = run("table_4_20", tmp_path, overrides=overrides)
    measured = scores(tmp_path / "plain")
    assert set(names) <= set(measured)
    assert frame.loc["background reused", "mean IoU measured"] == measured.loc["IoU, combined", "mean"]
    config = json.loads((tmp_path / "plain" / "train_config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == {"multi_class": "deeplabv3_plus", "binary": "unet"}
    assert len(pd.read_csv(tmp_path / "plain" / "multi_class" / "metrics.csv")) == 1
    record = json.loads((tmp_path / "plain" / "training.json").read_text(encoding="utf-8"))
    assert (record["class_names"], record["split_rule"], record["test_share"]) == (names, "random", 0.25)
    assert record["networks"]["binary"]["architecture"] == "unet"
    text = (tmp_path / "table_4_20.md").read_text(encoding="utf-8")
    assert f"Measured on {data}, preset cpu, with class_names={names}, split_rule=random, test_share=0.25," in text


def test_background_reuse(run, tmp_path):
    frame, printed = run("table_4_20", tmp_path)
    assert printed.count("training: ") == 1
    assert {path.name for path in tmp_path.glob("*/*.pt") if "checkpoint" not in path.name} == {
        "multi_class.pt",
        "binary.pt",
    }
    for name, result in (("plain", "multi_class"), ("background reused", "combined")):
        measured = scores(tmp_path / name.replace(" ", "_"))
        for label in ("Dice", "IoU", "precision", "recall"):
            assert frame.loc[name, f"mean {label} measured"] == measured.loc[f"{label}, {result}", "mean"]
    assert frame.loc["plain", "mean IoU published"] == 0.2703
    both = scores(tmp_path / "plain"), scores(tmp_path / "background_reused")
    pd.testing.assert_frame_equal(*both)


def test_binary_network(run, tmp_path):
    frame, _ = run("table_4_19", tmp_path)
    measured = scores(tmp_path / "conic")
    assert {str(title).split(", ")[1] for title in measured.index} == {"binary"}
    assert frame.loc["CoNIC", "foreground Dice measured"] == measured.loc["Dice, binary", "foreground"]
    assert frame.loc["CoNIC", "background recall measured"] == measured.loc["recall, binary", "background"]
    assert frame.loc["CoNIC"].notna().all()


def test_hard_pixels(run, bundle, data, tmp_path):
    frame, printed = run("table_3_1", tmp_path)
    assert "training: " not in printed
    assert "evaluating: " not in printed
    log = pd.read_csv(tmp_path / "hard_pixels" / "multi_class" / "hard_pixels.csv")
    assert list(log["epoch"]) == [1, 2]
    training = select(read_layout("conic", data), "training")
    frequencies = class_frequencies(training, CONIC_CLASSES)
    for name, frequency in zip(CONIC_CLASSES, frequencies, strict=True):
        assert frame.loc["hard pixels", f"{name} share measured"] == pytest.approx(log[f"{name}_share"].iloc[1])
        assert frame.loc["all pixels", f"{name} share measured"] == pytest.approx(frequency)
    assert log[[f"{name}_pixels" for name in CONIC_CLASSES]].iloc[1].sum() == 512 * len(training)
    frame, _ = run("table_4_14", tmp_path / "counts", rows=["n = 1024"])
    assert frame.loc["n = 1024"].filter(like="pixels measured").between(0, 1024 * len(training)).all()
    text = (tmp_path / "counts" / "table_4_14.md").read_text(encoding="utf-8")
    assert "| 277775 |" in text


def test_class_weights(run, data, tmp_path):
    frame, _ = run("table_4_11", tmp_path)
    assert not list(tmp_path.rglob("*.pt"))
    frequencies = torch.tensor(class_frequencies(select(read_layout("conic", data), "training"), CONIC_CLASSES))
    weights = (-torch.e * frequencies.double()).exp()
    for name, weight in zip(CONIC_CLASSES, (weights / weights.sum()).tolist(), strict=True):
        assert frame.loc["scheme 4", f"{name} measured"] == pytest.approx(weight, abs=1e-6)
    assert frame.loc["scheme 6", "background measured"] == 0
    assert frame.loc["frequency", "background published"] == 0.83975
    measured = frame.filter(like=" measured").sum(axis=1)
    assert measured.tolist() == pytest.approx([1, 1, 1, 1])
    frame, _ = run("table_3_3", tmp_path / "binary")
    assert frame.loc["balanced", "foreground measured"] == pytest.approx(float(frequencies[0]), abs=1e-5)


def test_monusac(run, tmp_path):
    data = tmp_path / "data"
    write_phantoms(data, "monusac", (3, 1, 1), (96, 96), seed=1)
    frame, _ = run("table_4_2", tmp_path / "shares", data=data)
    frequencies = class_frequencies(select(read_layout("monusac", data), "training"), MONUSAC_CLASSES)
    for name, frequency in zip(MONUSAC_CLASSES, frequencies, strict=True):
        assert frame.loc["frequency", f"{name} measured"] == pytest.approx(frequency)
    frame, _ = run("table_4_21", tmp_path / "reuse", data=data)
    assert frame.notna().all(axis=None)
    measured = scores(tmp_path / "reuse" / "plain")
    assert set(MONUSAC_CLASSES) <= set(measured)
    assert frame.loc["background reused", "mean IoU measured"] == measured.loc["IoU, combined", "mean"]
