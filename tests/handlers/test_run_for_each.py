from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from monai.bundle import run as run_bundle

from tinylesions.apps.input_errors import find_input_error
from tinylesions.handlers import run_for_each

CONFIG = {
    "imports": [
        "$from pathlib import Path",
        "$import tinylesions.datasets as datasets",
        "$import tinylesions.handlers as handlers",
    ],
    "folder": ".",
    "code": "IRMA",
    "codes": ["IRMA", "NPA", "NV"],
    "rate": 0.5,
    "layer": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3},
    "count": {"_target_": "itertools.count"},
    "path": "$Path(@folder, @code)",
    "initialize": ["$@path.with_suffix('.started').touch()"],
    "finalize": ["$@path.with_suffix('.ended').touch()"],
    "words": "$[datasets.find_octa_lesion(@code), @rate, @layer.out_features, next(@count)]",
    "single": ["$next(@count)", "$@path.with_suffix('.txt').write_text(' '.join(map(str, @words)))"],
    "all": ["$handlers.run_for_each('code', @codes, 'single')", "$Path(@folder, 'all').write_text(@code)"],
    "number": "$next(@count)",
    "same_number": ["$next(@count)", "$handlers.run_for_each('code', @codes, 'numbered', number=@number)"],
    "numbered": ["$@path.with_suffix('.txt').write_text(str(@number))"],
    "all_after_one": ["$next(@count)", "$handlers.run_for_each('code', @codes, 'single')"],
}
"""Each run writes a file named by its code: lesion, rate, outputs of the layer, and the second number of `count`."""


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "configs" / "train.json"
    path.parent.mkdir()
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    (path.parent / "metadata.json").write_text('{"version": "1"}', encoding="utf-8")
    return path


@pytest.fixture
def results(tmp_path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def by_command(config: Path, run_id: str, **overrides: Any) -> None:
    run_bundle(run_id=run_id, config_file=str(config), **overrides)


def by_workflow(config: Path, run_id: str, **overrides: Any) -> None:
    workflow = ConfigWorkflow(str(config), logging_file=False, run_id=run_id, workflow_type="train", **overrides)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def texts(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.txt")}


@pytest.mark.parametrize("run", [by_command, by_workflow])
class TestRuns:
    def test_each_value_runs_once(self, config, results, run):
        run(config, "all", folder=results.as_posix())
        assert texts(results) == {
            "IRMA": "intraretinal_microvascular_abnormality 0.5 3 1",
            "NPA": "nonperfusion_area 0.5 3 1",
            "NV": "neovascularisation 0.5 3 1",
        }
        for kind in ("started", "ended"):
            assert {path.stem for path in results.glob(f"*.{kind}")} == {"IRMA", "NPA", "NV"}
        assert (results / "all").read_text(encoding="utf-8") == "IRMA", "the run that asked for them is as it was"

    def test_what_the_user_asked_for_reaches_every_run(self, config, results, run):
        overrides = {"rate": 0.25, "layer#out_features": 7, "codes": ["NV", "IRMA"], "code": "NPA"}
        run(config, "all", folder=results.as_posix(), **overrides)
        assert texts(results) == {
            "NV": "neovascularisation 0.25 7 1",
            "IRMA": "intraretinal_microvascular_abnormality 0.25 7 1",
        }
        assert (results / "all").read_text(encoding="utf-8") == "NPA"

    def test_components_are_each_run_s_own(self, config, results, run):
        """Whatever the outer run took from its `count`, and the runs before from theirs."""
        run(config, "all_after_one", folder=results.as_posix())
        assert [text[-2:] for text in texts(results).values()] == [" 1"] * 3

    def test_what_is_shared_is_evaluated_once(self, config, results, run):
        run(config, "same_number", folder=results.as_posix())
        assert texts(results) == dict.fromkeys(("IRMA", "NPA", "NV"), "1")

    def test_bad_input_ends_it(self, config, results, run):
        with pytest.raises(RuntimeError) as raised:
            run(config, "all", folder=results.as_posix(), codes=["IRMA", "XX", "NV"])
        assert str(find_input_error(raised.value)).startswith("there is no lesion 'XX' in OCTA images: ")
        assert texts(results) == {"IRMA": "intraretinal_microvascular_abnormality 0.5 3 1"}
        assert not (results / "all").exists()


def test_without_a_workflow():
    with pytest.raises(RuntimeError, match="for the expressions of a config that MONAI runs as a workflow"):
        run_for_each("code", ["IRMA"], "single")
