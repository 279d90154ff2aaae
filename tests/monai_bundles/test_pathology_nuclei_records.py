"""What evaluations and inferences of the nuclei bundle know of a training without being told again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tinylesions.apps.workflows import run_workflow
from tinylesions.networks import UNet, UNetPlusPlus

from .configs import read_json
from .nuclei import MODELS, SMALL, STAND_INS, TILES, build, evaluate, infer, read_map, save_weights, training
from .octa import sentence

pytestmark = pytest.mark.filterwarnings("ignore:no training pixel is of")

NETWORKS: dict[str, Any] = {
    "architectures": {"multi_class": "unet_plus_plus", "binary": "unet"},
    "widths": [2, 2, 4],
    "max_epochs": 1,
}
PLAIN = {key: value for key, value in SMALL.items() if key != "roi_size"}


class TestNetworks:
    @pytest.fixture(scope="class")
    def trained(self, conic_phantoms, tmp_path_factory) -> Path:
        folder = tmp_path_factory.mktemp("trained")
        run_workflow(training(conic_phantoms, folder, {**NETWORKS, "spatial_size": [32, 32], "roi_size": [32, 32]}))
        return folder / "models"

    def test_an_inference_builds_them_again(self, conic_phantoms, tmp_path, trained):
        """Also where the one that ran last is not the one asked for."""
        workflow = infer(conic_phantoms / TILES, tmp_path / "out", trained, PLAIN)
        found = dict(workflow.network_def.networks.items())
        assert {model: type(network) for model, network in found.items()} == {
            "multi_class": UNetPlusPlus,
            "binary": UNet,
        }
        parsed = workflow.parser.get_parsed_content
        assert [list(parsed(id)) for id in ("spatial_size", "roi_size")] == [[32, 32]] * 2
        settings = read_json(tmp_path / "out" / "run.json")["settings"]
        assert {model: network["architecture"] for model, network in settings["networks"].items()} == NETWORKS[
            "architectures"
        ]
        infer(conic_phantoms / TILES, tmp_path / "one", trained / "binary.pt", PLAIN)
        for path in (conic_phantoms / TILES).iterdir():
            both, one = (read_map(tmp_path / name / path.stem / "binary.png") for name in ("out", "one"))
            assert both.shape == (64, 64)
            np.testing.assert_array_equal(both, one)

    def test_an_evaluation_scores_the_same(self, conic_phantoms, tmp_path, trained):
        evaluate(conic_phantoms, tmp_path / "plain", trained, PLAIN)
        told = {**PLAIN, **NETWORKS, "spatial_size": [32, 32], "roi_size": [32, 32]}
        evaluate(conic_phantoms, tmp_path / "told", trained, told)
        tables = [pd.read_csv(tmp_path / name / "scores.csv", index_col="score") for name in ("plain", "told")]
        pd.testing.assert_frame_equal(*tables)

    def test_the_other_network_needs_the_same_data(self, conic_phantoms, tmp_path):
        """Else tiles that one was trained on would test the other."""
        chosen = {**STAND_INS, "max_epochs": 1}
        run_workflow(training(conic_phantoms, tmp_path, chosen, "training_multi"))
        with pytest.raises(RuntimeError) as raised:
            run_workflow(training(conic_phantoms, tmp_path, {**chosen, "test_share": 0.25}, "training_binary"))
        assert "another test_share" in sentence(raised.value)
        assert not (tmp_path / "models" / "binary.pt").exists()
        run_workflow(training(conic_phantoms, tmp_path, chosen, "training_binary"))
        assert (tmp_path / "models" / "binary.pt").exists()


def test_an_evaluation_splits_as_the_training(conic_phantoms, tmp_path):
    chosen = {**STAND_INS, "max_epochs": 1, "split_rule": "random", "test_share": 0.2, "validation_share": 0.3}
    run_workflow(training(conic_phantoms, tmp_path, chosen, "training_binary"))
    expected = build(conic_phantoms, tmp_path, chosen).get_parsed_content("datalist")
    with pytest.warns(UserWarning, match="models has no multi_class.pt: "):
        evaluate(conic_phantoms, tmp_path, tmp_path / "models", {**STAND_INS, "save_predictions": True})
    scored = {path.name for path in (tmp_path / "predictions").iterdir()}
    assert scored == {item["id"] for item in expected if item["split"] == "test"}
    assert len(scored) == 3


def test_a_folder_of_its_own_for_the_test(conic_phantoms, tmp_path):
    """`test_dir`: all tiles of the training's folder are trained or validated on, all of the other are scored."""
    other = tmp_path / "other"
    other.mkdir()
    for name in ("images", "labels"):
        np.save(other / f"{name}.npy", np.load(conic_phantoms / f"{name}.npy")[:3])
    (other / "patch_info.csv").write_text("patch_info\nnew_1-0000\nnew_1-0001\nnew_2-0000\n", encoding="utf-8")
    chosen = {"test_dir": other.as_posix(), "test_share": 0.25}
    items = build(conic_phantoms, tmp_path, chosen).get_parsed_content("datalist")
    splits = {split: [item["id"] for item in items if item["split"] == split] for split in ("training", "test")}
    assert splits["test"] == ["new_1-0000", "new_1-0001", "new_2-0000"]
    assert len(splits["training"]) == 12
    assert all(Path(item["image"]).is_relative_to(other) == (item["split"] == "test") for item in items)
    models = save_weights(tmp_path / "models")
    evaluate(conic_phantoms, tmp_path, models, {**STAND_INS, **chosen, "save_predictions": True})
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == splits["test"]


def test_the_binary_network_s_classes_are_balanced(conic_phantoms, tmp_path):
    """Table 3.3; the other network's are weighed by scheme 5."""
    weights = {
        model: build(conic_phantoms, tmp_path, {"model": model}).get_parsed_content("class_weights") for model in MODELS
    }
    truth = np.load(conic_phantoms / "labels.npy")[[4, 5, 6, 7, 12, 13, 14, 15], ..., 1] > 0
    assert weights["binary"] == pytest.approx([truth.mean(), 1 - truth.mean()])
    assert weights["multi_class"][0] == pytest.approx(
        np.exp(-np.e * (1 - truth.mean())) * weights["multi_class"][1]  # whose class has no pixel: exp(0)
    )


def test_training_tiles_are_cropped_and_padded_to_one_size(monusac_phantoms, tmp_path):
    """Without `spatial_size`, tiles of several sizes are trained on in windows."""
    chosen = {"layout": "monusac", "spatial_size": [-1, -1], "roi_size": [96, 96], "batch_size": 3}
    (batch,) = build(monusac_phantoms, tmp_path, chosen).get_parsed_content("train#dataloader")
    assert batch["image"].shape == (3, 3, 96, 96)
    assert batch["label"].shape == (3, 1, 96, 96)
    white = (batch["image"] == 1).all(1, keepdim=True)
    padded = white.all(3, keepdim=True).expand_as(white)
    assert padded.float().mean() == pytest.approx(16 / 96, abs=0.01)
    assert not batch["label"][padded].any()
