"""What networks label reaches the photos to train on that lack it, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from PIL import Image

from tinylesions.datasets import (
    InputError,
    load_datalist,
    read_pseudo_grades,
    write_pseudo_grades,
    write_pseudo_masks,
)
from tinylesions.datasets.lesions import LESIONS
from tinylesions.datasets.masks import read_masks
from tinylesions.handlers import PseudoGrades, without_twins, write_pseudo_labelled

SIZE = (20, 30)


def evaluate(handler: PseudoGrades, batches: list[list[dict[str, Any]]]) -> None:
    evaluator = Engine(lambda _engine, batch: batch)
    handler.attach(evaluator)
    evaluator.run(batches)


class TestPseudoGrades:
    @pytest.mark.parametrize("kind", [torch.tensor, lambda values: MetaTensor(torch.tensor(values))])
    def test_the_most_probable_grade_of_each_photo(self, tmp_path, kind):
        logits = np.random.default_rng(0).normal(size=(7, 5)).tolist()
        photos = [{"photo_id": f"eye {number}", "pred_grade": kind(row)} for number, row in enumerate(logits)]
        evaluate(PseudoGrades(tmp_path), [photos[:3], photos[3:4], photos[4:]])
        (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
        table = pd.read_csv(path, index_col="Image name")["Retinopathy grade"]
        expected = {f"eye {number}": row.index(max(row)) for number, row in enumerate(logits)}
        assert table.to_dict() == expected
        assert table.nunique() > 2
        assert read_pseudo_grades(tmp_path, list(expected)) == expected

    def test_other_keys(self, tmp_path):
        evaluate(PseudoGrades(tmp_path, "grade", "name"), [[{"name": "eye", "grade": torch.eye(5)[3]}]])
        assert read_pseudo_grades(tmp_path, ["eye"]) == {"eye": 3}

    def test_an_evaluation_starts_anew(self, tmp_path):
        handler = PseudoGrades(tmp_path)
        for name, grade in (("first", 1), ("second", 2)):
            evaluate(handler, [[{"photo_id": name, "pred_grade": torch.eye(5)[grade]}]])
        assert read_pseudo_grades(tmp_path, ["second"]) == {"second": 2}
        with pytest.raises(InputError, match="no grade of first"):
            read_pseudo_grades(tmp_path, ["first"])

    def test_nothing_is_written_of_a_failed_evaluation_or_by_another_process(self, tmp_path, monkeypatch):
        photo = {"photo_id": "eye", "pred_grade": torch.eye(5)[0]}
        with pytest.raises(KeyError):
            evaluate(PseudoGrades(tmp_path), [[photo], [{"photo_id": "eye 2"}]])
        monkeypatch.setattr(idist, "get_rank", lambda: 1)
        evaluate(PseudoGrades(tmp_path), [[photo]])
        assert not any(tmp_path.iterdir())


def write_photo(path: Path, seed: int, size: tuple[int, int] = (120, 90)) -> str:
    """A retina of random blots."""
    blots = np.random.default_rng(seed).integers(60, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(blots).resize(size, Image.Resampling.BICUBIC).save(path)
    return str(path)


class TestWithoutTwins:
    def test_who_stays_and_what_is_reported(self, tmp_path, capsys):
        """Photos (d, s) of one seed are twins: what is seen in one stage goes from the stages before."""
        splits = {"d": ["training", "validation", "test", "test", "training", "test"]}
        splits["s"] = ["test", "test", "training", "test", "validation", "test"]
        seeds = {"d": [0, 1, 2, 3, 4, 5], "s": [0, 1, 2, 3, 4, 9]}
        lists = {
            name: [
                {"id": f"{name}{n}", "image": write_photo(tmp_path / f"{name}{n}.png", seeds[name][n]), "split": split}
                for n, split in enumerate(splits[name])
            ]
            for name in "ds"
        }
        report = tmp_path / "reports" / "twins.csv"
        left = without_twins(lists["d"], lists["s"], report)
        assert left == {
            "grading": [lists["d"][n] for n in (2, 3, 5)],
            "segmentation": [lists["s"][n] for n in (0, 1, 3, 4, 5)],
        }
        rows = [
            ["d0", "training", "s0", "test", True],
            ["d1", "validation", "s1", "test", True],
            ["d2", "test", "s2", "training", True],
            ["d3", "test", "s3", "test", False],
            ["d4", "training", "s4", "validation", True],
        ]
        assert pd.read_csv(report).to_dict("split")["data"] == rows
        assert "5 photos are in both data sets" in (printed := capsys.readouterr().out)
        assert "4 of them would be trained or validated on" in printed.replace("\n", " ")

    def test_nothing_in_common(self, tmp_path):
        one, other = (
            [{"id": f"{n}", "image": write_photo(tmp_path / f"{n}.png", n), "split": "test"}] for n in range(2)
        )
        assert without_twins(one, other, tmp_path / "twins.csv") == {"grading": one, "segmentation": other}
        assert pd.read_csv(tmp_path / "twins.csv").empty


@pytest.fixture
def photos(tmp_path) -> dict[str, list[dict[str, Any]]]:
    """Both data sets, two photos a split, and what networks said of those to train on."""
    grading = [
        {"id": f"{split}_{grade}", "image": str(tmp_path / f"{split}_{grade}.jpg"), "split": split, "grade": grade}
        for split in ("training", "validation", "test")
        for grade in (0, 3)
    ]
    mask = str(tmp_path / "mask.tif")
    segmentation = [
        {"id": f"{split} {lesion}", "image": str(tmp_path / "eye.jpg"), "split": split, "label": {lesion: mask}}
        for split in ("training", "validation", "test")
        for lesion in LESIONS[:2]
    ]
    write_pseudo_grades(tmp_path / "out", {item["id"]: number for number, item in enumerate(segmentation[:3], start=2)})
    return {"grading": grading, "segmentation": segmentation}


def drawn() -> np.ndarray:
    masks = np.random.default_rng(0).random((4, *SIZE)) > 0.8
    masks[2] = False
    return masks


class TestWritePseudoLabelled:
    def test_photos_to_train_on_get_what_they_lack(self, photos, tmp_path, capsys):
        for item in photos["grading"]:  # an older network drew lesions where a person saw none, and on other photos
            write_pseudo_masks(tmp_path / "out", item["id"], drawn())
        paths = write_pseudo_labelled(tmp_path / "out", photos["grading"], photos["segmentation"])
        assert {name: path.name for name, path in paths.items()} == {
            name: f"{name}.json" for name in ("grading", "segmentation", "joint")
        }
        graded, masked = (load_datalist(paths[name]) for name in ("grading", "segmentation"))
        healthy, diseased = graded[:2]
        assert healthy == {**photos["grading"][0], "label": {}, "pseudo": ["label"]}
        label = diseased.pop("label")
        assert set(label) == set(LESIONS) - {"hard_exudate"}
        np.testing.assert_array_equal(read_masks(label, SIZE), drawn())
        assert diseased == {**photos["grading"][1], "pseudo": ["label"]}
        for number, item in enumerate(masked[:2]):
            assert item == {**photos["segmentation"][number], "grade": 2 + number, "pseudo": ["grade"]}
        assert graded[2:] == photos["grading"][2:]
        assert masked[2:] == photos["segmentation"][2:], "no grade, though the table has one"
        joint = load_datalist(paths["joint"])
        assert len(joint) == 12
        assert all(item in joint for item in [healthy, *masked, *graded[2:]])
        printed = capsys.readouterr().out
        assert "1 of grade 2, 1 of grade 3" in printed
        assert "1 photos with lesions" in printed

    def test_a_photo_on_which_the_network_saw_nothing(self, photos, tmp_path):
        paths = write_pseudo_labelled(tmp_path / "out", photos["grading"], photos["segmentation"])
        assert load_datalist(paths["grading"])[1] == {**photos["grading"][1], "label": {}, "pseudo": ["label"]}

    def test_what_is_given_stays_as_it_is(self, photos, tmp_path):
        before = str(photos)
        write_pseudo_labelled(tmp_path / "out", photos["grading"], photos["segmentation"])
        assert str(photos) == before

    def test_a_missing_grade_writes_nothing(self, photos, tmp_path):
        write_pseudo_grades(tmp_path / "out", {photos["segmentation"][0]["id"]: 1})
        with pytest.raises(InputError, match=f"no grade of training {LESIONS[1]}"):
            write_pseudo_labelled(tmp_path / "out", photos["grading"], photos["segmentation"])
        assert not list((tmp_path / "out").glob("*.json"))
