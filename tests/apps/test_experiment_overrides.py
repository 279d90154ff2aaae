"""`tinylesions experiment --set`: what a user overrides in all rows of a table, and what is refused."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from tinylesions.apps import experiment as experiment_module
from tinylesions.apps.experiment import run_experiment
from tinylesions.apps.experiment_overrides import lay_over, parse_overrides
from tinylesions.apps.phantoms import write_phantoms
from tinylesions.apps.workflows import build_workflow
from tinylesions.datasets import InputError
from tinylesions.monai_bundles import find_bundle

from .test_experiment_runs import Work

NUCLEI = find_bundle("pathology_nuclei_imbalance_segmentation")
NAMES = ["background", "other", "inflammatory", "epithelial", "spindle"]
LABELS = ("Dice", "IoU", "precision", "recall")
SCORES = [f"{label}, {result}" for label in LABELS for result in ("multi_class", "combined")]
REDUCED = ("precision at break-even", "recall at break-even", "average precision (exact)")
SCORES += [f"{label}, reduced size" for label in REDUCED]


class Scored(Work):
    """Plays MONAI: the same scores for every row."""

    def run(self, workflow: tuple[list[str], dict[str, Any]], config_copy: Path) -> None:
        super().run(workflow, config_copy)
        if "evaluate" in workflow[0]:
            columns = ["microaneurysm", "haemorrhage", "mean"]
            frame = pd.DataFrame(0.25, index=pd.Index(SCORES, name="score"), columns=columns)
            frame.to_csv(workflow[1]["output_dir"] / "scores.csv")


@pytest.fixture
def work(monkeypatch) -> Scored:
    work = Scored()
    monkeypatch.setattr(experiment_module, "build_workflow", work.build)
    monkeypatch.setattr(experiment_module, "run_workflow", work.run)
    return work


@pytest.fixture(scope="session")
def conic(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "conic"
    write_phantoms(folder, "conic", (8, 2, 2), (64, 64), seed=1)
    return folder


@pytest.fixture
def run(work, conic, tmp_path) -> Callable[..., pd.DataFrame]:
    """Run a table of the bundle for nuclei with overrides."""

    def experiment(table: str, overrides: Mapping[str, Any], out: str = "out", **options: Any) -> pd.DataFrame:
        console = Console(file=io.StringIO())
        return run_experiment(NUCLEI, table, conic, tmp_path / out, console=console, overrides=overrides, **options)

    return experiment


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "id", "value"),
        [
            ("max_epochs=5", "max_epochs", 5),
            ("learning_rate=1e-4", "learning_rate", 0.0001),
            ("split_rule=random", "split_rule", "random"),
            ("class_names=['background', 'other']", "class_names", ["background", "other"]),
            ("class_names=[background,other]", "class_names", ["background", "other"]),
            ("losses#multi_class=['dice']", "losses#multi_class", ["dice"]),
            ("losses::multi_class = ['dice']", "losses#multi_class", ["dice"]),
            ("test_dir=None", "test_dir", None),
            ("gamma=$1 / 2", "gamma", "$1 / 2"),
            ("gamma=@tversky_beta", "gamma", "@tversky_beta"),
            ("test_dir=/data/a=b", "test_dir", "/data/a=b"),
        ],
    )
    def test_values_are_those_of_monai_s_command_line(self, text, id, value):
        assert parse_overrides([text]) == {id: value}

    @pytest.mark.parametrize("text", ["max_epochs", "=5", " =5", ""])
    def test_neither_id_nor_value(self, text):
        with pytest.raises(InputError, match=r"give the id of a config and its value, as in --set max_epochs=5\.$"):
            parse_overrides([text])

    def test_twice(self):
        with pytest.raises(InputError, match="--set losses#binary: it is given twice"):
            parse_overrides(["losses#binary=[dice]", "losses::binary=[focal]"])


class TestLaying:
    def test_over_the_table_s_own(self):
        below = {"losses": {"multi_class": ["focal"], "binary": ["dice"]}, "class_weight_scheme#binary": 2}
        over = {"losses#binary": ["focal"], "class_weight_scheme": {"multi_class": 1, "binary": 1}}
        laid = lay_over(NUCLEI, ["train"], below, over)
        for _ in range(2):  # a config writes into what is laid over it
            config = build_workflow(NUCLEI, ["train"], laid, "train").parser
            assert config["losses"] == {"multi_class": ["focal"], "binary": ["focal"]}
            assert config["class_weight_scheme"] == {"multi_class": 1, "binary": 1}
        assert below["losses"]["binary"] == ["dice"]

    def test_only_where_the_id_is(self):
        over = {"minimum_area": 5, "max_epochs": 2}
        assert lay_over(NUCLEI, ["train"], {}, over) == {"max_epochs": 2}
        assert lay_over(NUCLEI, ["train", "evaluate"], {}, over) == over


class TestRuns:
    def test_every_training_and_evaluation_gets_them(self, run, work):
        run("table_4_3", {"max_epochs": 5, "class_names": NAMES, "minimum_area": 4}, rows=["U-Net / CE", "U-Net / OB"])
        assert len(work.calls) == 4
        for configs, overrides in work.calls:
            assert (overrides["max_epochs"], overrides["class_names"]) == (5, NAMES)
            assert overrides.get("minimum_area") == (4 if "evaluate" in configs else None)
            assert overrides["hard_pixels"] == 512

    def test_they_come_before_the_table_s_own(self, run, work):
        run(
            "table_4_3",
            {"hard_pixels": 64, "class_weight_scheme": {"multi_class": 1, "binary": 1}},
            rows=["U-Net / OB"],
        )
        for _, overrides in work.calls:
            assert overrides["hard_pixels"] == 64
            assert "class_weight_scheme#multi_class" not in overrides

    def test_the_table_names_them(self, run, conic, tmp_path):
        run("table_4_20", {"split_rule": "random", "max_epochs": 5}, presets=["cpu"])
        text = (tmp_path / "out" / "table_4_20.md").read_text(encoding="utf-8")
        assert f"Measured on {conic}, preset cpu, with split_rule=random, max_epochs=5; a dash" in text

    def test_rows_of_other_overrides_are_never_mixed(self, run, work):
        run("table_4_20", {"max_epochs": 5})
        calls = len(work.calls)
        for other in ({}, {"max_epochs": 6}, {"max_epochs": 5, "gamma": 1.0}):
            with pytest.raises(InputError, match="holds rows with another --set: name another folder with --out"):
                run("table_4_20", other)
        run("table_4_20", {"max_epochs": 5})
        assert len(work.calls) == calls

    def test_a_folder_of_before_has_none(self, run, tmp_path):
        run("table_4_20", {})
        path = tmp_path / "out" / "experiment.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        assert settings.pop("--set") == {}
        path.write_text(json.dumps(settings), encoding="utf-8")
        run("table_4_20", {})
        with pytest.raises(InputError, match="another --set"):
            run("table_4_20", {"max_epochs": 5})

    def test_a_data_set_without_sources(self, work, conic, tmp_path):
        """It can only be split at random; what is read at first is what the training will read."""
        data = Path(shutil.copytree(conic, tmp_path / "conic"))
        (data / "patch_info.csv").unlink()
        with pytest.raises(InputError, match=r"patch_info\.csv"):
            run_experiment(NUCLEI, "table_4_20", data, tmp_path / "out")
        assert not work.calls
        assert not (tmp_path / "out").exists()
        run_experiment(NUCLEI, "table_4_20", data, tmp_path / "out", overrides={"split_rule": "random"})
        assert [overrides["split_rule"] for _, overrides in work.calls] == ["random"] * 3

    def test_rows_without_published_figures(self, run, tmp_path):
        frame = run("table_4_3", {}, rows=["U-Net / OB"])
        line = frame.loc["U-Net / OB"]
        assert line.filter(like="measured").tolist() == [0.25] * 4
        assert line.filter(like="published").isna().all()
        csv = pd.read_csv(tmp_path / "out" / "table_4_3.csv", index_col="row")
        pd.testing.assert_frame_equal(csv, frame)
        text = (tmp_path / "out" / "table_4_3.md").read_text(encoding="utf-8")
        assert f"| U-Net / OB |{' 0.2500 | – |' * 4}\n" in text
        assert f"| U-Net / CE |{' – | – |' * 4}\n" in text
        assert "a dash is a row that has not been run or a figure that the paper does not give" in text


class TestRefused:
    @pytest.fixture(autouse=True)
    def _nothing_written(self, work, tmp_path):
        yield
        assert not work.calls
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("id", ["max_epoch", "losses#triple", "losses#binary#0#x", "network_types#unet#in", "#"])
    def test_no_such_id(self, run, id):
        with pytest.raises(
            InputError, match=f"^--set {id}: the configs of {NUCLEI.name} have no such id, see .*configs"
        ):
            run("table_4_20", {id: 5})

    def test_an_id_of_evaluations_alone_where_nothing_is_evaluated(self, run):
        with pytest.raises(InputError, match="have no such id"):
            run("table_4_11", {"minimum_area": 5})

    @pytest.mark.parametrize("id", ["architectures", "architectures#multi_class", "losses#multi_class#0", "losses"])
    def test_an_id_that_makes_the_rows_what_they_are(self, run, id):
        with pytest.raises(InputError, match=f"--set {id}: the row 'DeepLab / Dice' of table_4_3 is made by its own"):
            run("table_4_3", {id: "unet"}, rows=["U-Net / CE"])

    @pytest.mark.parametrize(
        ("id", "option"), [("dataset_dir", "--dataset-dir"), ("seed", "--seeds"), ("ckpt_path", "--out")]
    )
    def test_what_an_option_is_for(self, run, id, option):
        with pytest.raises(InputError, match=f"--set {id}: {option} is for that"):
            run("table_4_20", {id: "x"})

    @pytest.mark.parametrize("table", ["table_4_5", "table_3_1", "table_4_11"])
    def test_classes_that_a_table_prints(self, run, table):
        with pytest.raises(
            InputError, match=f"{table} prints figures of connective, .*neutrophil.*, and the classes are"
        ):
            run(table, {"class_names": NAMES})

    def test_classes_of_another_layout(self, work, tmp_path):
        write_phantoms(tmp_path / "monusac", "monusac", (3, 1, 1), (64, 64), seed=1)
        with pytest.raises(InputError, match="prints figures of connective, eosinophil, plasma, and the classes are"):
            run_experiment(NUCLEI, "table_4_9", tmp_path / "monusac", tmp_path / "out", layout="monusac")

    @pytest.mark.parametrize("layout", ["idrid", "json", "drac"])
    def test_a_layout_without_nuclei(self, run, layout):
        with pytest.raises(InputError, match=f"'{layout}' holds no nuclei, .* of nuclei: choose one of conic, monusac"):
            run("table_4_3", {}, layout=layout)

    def test_a_layout_of_nuclei(self, conic, tmp_path):
        fundus = find_bundle("fundus_multi_lesion_segmentation")
        with pytest.raises(
            InputError, match="'conic' holds nuclei, and table_4 is of lesions or grades: choose one of"
        ):
            run_experiment(fundus, "table_4", conic, tmp_path / "out", layout="conic")

    def test_a_layout_of_nuclei_to_score(self, conic, dataset, tmp_path):
        grading = find_bundle("fundus_dr_grading_segmentation")
        options = {"evaluation_dir": conic, "evaluation_layout": "conic", "layout": "idrid"}
        with pytest.raises(InputError, match=r"'conic' holds nuclei, .* with --evaluation-layout"):
            run_experiment(grading, "table_12", dataset, tmp_path / "out", **options)


def test_the_option(tinylesions, work, conic, tmp_path):
    command = ("experiment", "table_4_20", "--bundle", NUCLEI.name, "--dataset-dir", conic, "--out", tmp_path / "out")
    assert "have no such id" in tinylesions(*command, "--set", "max_epoch=5").problem
    chosen = ("--set", "max_epochs=5", "--set", f"class_names={NAMES}", "--set", "losses#binary=[focal]")
    assert tinylesions(*command, *chosen).code == 0
    for _, overrides in work.calls:
        assert (overrides["max_epochs"], overrides["class_names"]) == (5, NAMES)
        assert overrides["losses#binary"] == ["focal"]


def test_another_bundle(work, dataset, tmp_path):
    bundle = find_bundle("fundus_red_lesion_segmentation")
    with pytest.raises(InputError, match="have no such id"):
        run_experiment(bundle, "table_2", dataset, tmp_path / "out", layout="idrid", overrides={"class_names": NAMES})
    assert not work.calls
    run_experiment(bundle, "table_2", dataset, tmp_path / "out", layout="idrid", overrides={"max_epochs": 3})
    assert len(work.calls) > 1
    assert {overrides["max_epochs"] for _, overrides in work.calls} == {3}
