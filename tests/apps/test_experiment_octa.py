"""`tinylesions experiment` with the bundle that trains a network for each lesion."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from monai.bundle import ConfigParser
from rich.console import Console

from tinylesions.apps.experiment import run_experiment
from tinylesions.apps.experiment_table import printed_table
from tinylesions.apps.phantoms import write_phantoms
from tinylesions.datasets import OCTA_LESIONS
from tinylesions.handlers import TrainingCheckpoint
from tinylesions.monai_bundles import Bundle, find_bundle

from .conftest import CopiedBundle

CODES = ("IRMA", "NPA", "NV")
FINAL = "final system"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    """A copy of the bundle whose cpu preset trains for a second."""
    bundle = find_bundle("octa_dr_lesion_segmentation")
    folder = Path(shutil.copytree(bundle.root, tmp_path_factory.mktemp("bundle") / bundle.name))
    path = folder / "configs" / "cpu.json"
    preset = json.loads(path.read_text(encoding="utf-8"))
    preset |= {"spatial_size": [64, 64], "widths": [2, 2, 2, 2, 2], "max_epochs": 2, "val_interval": 1}
    preset["network_types#sam_adapter#image_size"] = 64
    path.write_text(json.dumps(preset), encoding="utf-8")
    return CopiedBundle(bundle.name, bundle.title, bundle.classes, folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "drac"
    write_phantoms(folder, "drac", (6, 2, 1), (128, 128), seed=1)
    return folder


@pytest.fixture(scope="module")
def checkpoint(bundle, tmp_path_factory) -> Path:
    """What Segment Anything would publish for an encoder as small as the preset's."""
    parser = ConfigParser()
    parser.read_config(bundle.config_files("train", "cpu"))
    network = parser.get_parsed_content("network_types#sam_adapter")(pretrained=None, freeze_encoder=False)
    published = network.image_encoder.published_state_dict()
    path = tmp_path_factory.mktemp("checkpoint") / "sam.pth"
    torch.save({f"image_encoder.{name}": value for name, value in published.items()}, path)
    return path


@pytest.fixture(scope="module")
def run(bundle, data) -> Callable[..., tuple[pd.DataFrame, str]]:
    """Run a table with the preset; gives the frame and what was printed."""

    def experiment(table: str, out: Path, **options: object):
        printed = io.StringIO()
        console = Console(file=printed, width=400)
        return run_experiment(bundle, table, data, out, presets=["cpu"], console=console, **options), printed.getvalue()

    return experiment


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory) -> Path:
    """The folder of table 3, run without an interruption."""
    out = tmp_path_factory.mktemp("finished")
    run("table_3", out)
    return out


def test_the_terminal_has_codes():
    columns = [f"{lesion} Dice" for lesion in (*OCTA_LESIONS, "mean", "haemorrhage")]
    kinds = {f"{column} {kind}": [0.25] for column in columns for kind in ("measured", "published")}
    table = printed_table(pd.DataFrame(kinds, index=["Unet"]))
    assert list(table) == [*(f"{code} Dice" for code in CODES), "mean Dice", "haemorrhage Dice"]
    assert set(table.loc["Unet"]) == {"0.250 (0.250)"}


@pytest.mark.slow
def test_all_networks_of_table_4(run, bundle, checkpoint, tmp_path):
    frame, printed = run("table_4", tmp_path)
    assert "SAMadapter is left out" in printed
    assert sorted(path.parent.name for path in tmp_path.glob("*/trained")) == sorted(
        ["unet", "unet__", "unet___with_attention_layer", "deeplab"]
    )
    checkpoint = Path(shutil.copy(checkpoint, tmp_path))
    run("table_4", tmp_path, pretrained=str(checkpoint), rows=["SAMadapter"])
    trained = torch.load(tmp_path / "samadapter" / "NV.pt", weights_only=True)
    given = torch.load(checkpoint, weights_only=True)
    assert all(torch.equal(trained[name], value) for name, value in given.items()), "the encoder is frozen"

    # the trained network needs the checkpoint no longer
    checkpoint.unlink()
    (tmp_path / "samadapter" / "scores.csv").unlink()
    frame, printed = run("table_4", tmp_path)
    assert "left out" not in printed
    experiment = json.loads((bundle.root / "experiments" / "table_4.json").read_text(encoding="utf-8"))
    for row in experiment["rows"]:
        folder = tmp_path / "".join(c if c.isalnum() else "_" for c in row["name"].lower())
        assert {path.stem for path in folder.glob("*.pt")} == {*CODES, *(f"{code}_checkpoint" for code in CODES)}
        scores = pd.read_csv(folder / "scores.csv", index_col="score")
        assert set(OCTA_LESIONS) <= set(scores)
        for column in row["published"]:
            key, _, label = column.partition(" ")
            assert frame.loc[row["name"], f"{column} measured"] == scores.loc[experiment["scores"][label], key]
        assert frame.loc[row["name"], f"{OCTA_LESIONS[1]} Dice measured"] >= 0
        evaluated = json.loads((folder / "evaluate_config.json").read_text(encoding="utf-8"))
        assert (evaluated["ckpt_path"], evaluated["pretrained"]) == (str(folder), None)
    text = (tmp_path / "table_4.md").read_text(encoding="utf-8")
    assert "The photos are phantoms (drawings)" in text
    assert "hidden test set" in text


@pytest.mark.slow
def test_an_interrupted_row_goes_on(run, finished, tmp_path, monkeypatch):
    """The first lesion is complete and the second half trained: neither loses an epoch nor trains one twice."""
    save, saved = TrainingCheckpoint.save, []

    def interrupted(self, engine):
        save(self, engine)
        saved.append((self.path.name, engine.state.epoch))
        if len(saved) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingCheckpoint, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("table_3", tmp_path)
    row = tmp_path / "final_system"
    assert not (row / "trained").exists()
    before = (row / "IRMA.pt").stat().st_mtime_ns
    run("table_3", tmp_path)
    assert saved == [(f"{code}_checkpoint.pt", epoch) for code in CODES for epoch in (1, 2)]
    assert (row / "IRMA.pt").stat().st_mtime_ns == before
    for code in CODES:
        found, expected = (
            torch.load(folder / f"{code}_checkpoint.pt", weights_only=True)["network"]
            for folder in (row, finished / "final_system")
        )
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found), code
    tables = [pd.read_csv(folder / "table_3.csv", index_col="row") for folder in (tmp_path, finished)]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0].loc[FINAL, "mean Dice published"] == 0.4833


@pytest.mark.slow
def test_what_is_done_is_not_done_again(run, finished):
    times = {path: path.stat().st_mtime_ns for path in finished.glob("final_system/*")}
    frame, _ = run("table_3", finished)
    assert {path: path.stat().st_mtime_ns for path in finished.glob("final_system/*")} == times
    assert frame.loc[FINAL].filter(like="Dice measured").notna().all()
