"""Trained weights, trained further on a user's own photos: the work behind `tinylesions finetune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape

from tinylesions.apps.check_data import check_data
from tinylesions.apps.devices import device_override
from tinylesions.apps.experiment_overrides import lay_over
from tinylesions.apps.finetune_checks import (
    check_overrides,
    claim,
    finetuning_config,
    photos_digest,
    read_record,
    refuse_nuclei,
)
from tinylesions.apps.finetune_scores import (
    before_and_after,
    chosen_thresholds,
    printed_scores,
    run_evaluation,
    write_scores,
)
from tinylesions.apps.wording import counted
from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import InputError, file_sha256, store_thresholds
from tinylesions.monai_bundles import BUNDLES, Bundle

__all__ = ["run_finetuning"]

EPOCHS = 5
FEW = 10
"""Photos, of which a score says little."""
LEARNING_RATES = ("learning_rate", "encoder_learning_rate")


def run_finetuning(
    bundle: Bundle,
    dataset_dir: Path,
    output_dir: Path,
    layout: str = "folder",
    weights: Path | None = None,
    epochs: int = EPOCHS,
    overrides: Mapping[str, Any] | None = None,
    device: str | None = None,
    console: Console | None = None,
) -> pd.DataFrame | None:
    """Check a user's photos, score the weights on those for validation, train them further, and score them again.

    The network, its width and the photos' scale are those of the weights, the learning rates half of the config's.
    What is done is kept when the same is started again, and an interrupted training goes on.

    Args:
        bundle: the bundle.
        dataset_dir: the photos and masks.
        output_dir: folder of ``model.pt``, ``training.json``, ``finetuning.csv`` and the folders ``before``, ``after``
            and ``log``.
        layout: of the photos and masks, one of ``LAYOUTS``.
        weights: to start from, beside their ``training.json``; the bundle's own by default.
        epochs: how many to train.
        overrides: ids of the config and their values.
        device: name of the device; the config's own by default.
        console: where to print.

    Returns:
        See :func:`~tinylesions.apps.finetune_scores.before_and_after`; None where no photo validates.

    Raises:
        InputError: the bundle has no config for this, there are no weights, or such as it cannot start from, photos or
            masks have to be repaired, none is for training, overrides of ids that no config has or that options are
            for, or `output_dir` holds another fine-tuning.
    """
    console = console or Console()
    weights = weights or bundle.weights
    config = finetuning_config(bundle)
    record = read_record(weights, bundle, output_dir)
    refuse_nuclei(layout, bundle)
    check_overrides(bundle, config, overrides or {})
    places = {"dataset_dir": dataset_dir.absolute(), "layout": layout, "initial_weights": weights.absolute()}
    common = {**places, "ckpt_dir": output_dir, **device_override(device)}
    run = _Finetuning(bundle, config, output_dir, common, record, dict(overrides or {}), epochs)

    console.print(f"[b]1. Photos and masks[/b] of {escape(str(dataset_dir))}")
    problems = check_data(layout, dataset_dir, console)
    if problems:
        have = "1 photo has" if problems == 1 else f"{problems} photos have"
        raise InputError(f"{dataset_dir}: {have} problems: repair the files named above before training.")
    photos, lesions = run.photos_and_lesions()
    splits = [photo["split"] for photo in photos]
    training, validation = splits.count("training"), splits.count("validation")
    if not training:
        raise InputError(f"{dataset_dir}: no photo is for training: give some the split training.")
    known = [lesion for lesion in lesions if lesion in record["lesions"]]
    new = [lesion for lesion in lesions if lesion not in known]
    console.print(f"{counted(training, 'photo')} for training, {validation} for validation", markup=False)
    console.print(f"lesions that the weights know: {_listed(known)}; new to them: {_listed(new)}", markup=False)
    forgotten = [lesion for lesion in record["lesions"] if lesion not in lesions]
    if forgotten:
        console.print(f"no mask, so that the new weights do not look for it: {_listed(forgotten)}", markup=False)
    claim(output_dir, run.settings(layout, photos, weights))

    console.print(f"[b]2. Before[/b]: {_who_is_scored(known, validation)}")
    if known and validation:
        run.evaluate_before()
    console.print(f"[b]3. Training[/b], {counted(epochs, 'epoch')}, in {escape(str(output_dir))}")
    run.train()
    console.print(f"[b]4. After[/b]: {_who_is_scored(lesions, validation)}")
    table = None
    if validation:
        run.evaluate_after()
        table = before_and_after(output_dir, lesions, known)
    thresholds, sources = chosen_thresholds(table, lesions, record.get("thresholds") or {})
    store_thresholds(output_dir / "model.pt", thresholds)
    if table is not None:
        table["threshold"] = pd.Series(thresholds)
        write_scores(table, output_dir / "finetuning.csv")
        console.print(f"\naverage precision (exact) on {counted(validation, 'photo')} for validation:", markup=False)
        console.print(printed_scores(table).to_string(), markup=False)
        if validation < FEW:
            console.print("so few photos only hint at whether the training helped")
    for lesion, threshold in thresholds.items():
        console.print(f"threshold of {lesion}: {threshold:.3f}, {sources[lesion]}", markup=False)
    of_bundle = "" if bundle is next(iter(BUNDLES.values())) else f" --bundle {bundle.name}"
    console.print("\nnow find lesions in other photos:", markup=False)
    console.print(
        f'tinylesions predict PHOTOS{of_bundle} --weights "{output_dir / "model.pt"}" --out results', markup=False
    )
    return table


@dataclass(frozen=True)
class _Finetuning:
    """The training and the evaluations of one output folder."""

    bundle: Bundle
    config: str
    output_dir: Path
    common: Mapping[str, Any]
    record: Mapping[str, Any]
    """Of the weights to start from."""
    overrides: Mapping[str, Any]
    """The user's."""
    epochs: int

    def photos_and_lesions(self) -> tuple[list[dict[str, Any]], list[str]]:
        """The data set as the training takes it."""
        parser = build_workflow(self.bundle, [self.config], self._training_overrides(), "train").parser
        return parser.get_parsed_content("datalist"), list(parser.get_parsed_content("lesions"))

    def settings(self, layout: str, photos: Sequence[Mapping[str, Any]], weights: Path) -> dict[str, Any]:
        """What the new weights depend on, under the names that a user has for it."""
        return {
            "bundle": self.bundle.name,
            "layout": layout,
            "photos, masks or splits": photos_digest(photos),
            "weights to start from": file_sha256(weights),
            "number of epochs": self.epochs,
            "--set": {id: repr(value) for id, value in self.overrides.items()},
        }

    def evaluate_before(self) -> None:
        """Score the weights as the training starts from them, at the scale that they were trained at."""
        own = {id: self.record[id] for id in ("longest_side", "flips") if id in self.record}
        start = {"ckpt_path": self.common["initial_weights"], "initialize": [*_SEED, "@start"]}
        kept = {id: value for id, value in self.overrides.items() if id not in own}
        self._evaluate("before", {**own, **start}, kept)

    def train(self) -> None:
        """Train, unless that is done."""
        finished = self.output_dir / "trained"
        if not finished.is_file():
            workflow = build_workflow(self.bundle, [self.config], self._training_overrides(), "train", "training")
            run_workflow(workflow, self.output_dir / "train_config.json")
            finished.touch()

    def evaluate_after(self) -> None:
        """Score the new weights, and choose the thresholds."""
        self._evaluate("after", {"ckpt_path": self.output_dir / "model.pt"}, self.overrides)

    def _training_overrides(self) -> dict[str, Any]:
        config = build_workflow(self.bundle, [self.config], {}, "train").parser
        rates = {id: config.get_parsed_content(id) / 2 for id in LEARNING_RATES}
        below = {**self._network(), **rates, "max_epochs": self.epochs, "output_dir": self.output_dir / "log"}
        return lay_over(self.bundle, [self.config], {**self.common, **below}, self.overrides)

    def _evaluate(self, name: str, own: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        folder = self.output_dir / name
        configs = [self.config, "evaluate"]
        split = {"split": "validation", "thresholds": None, "output_dir": folder}
        overrides = lay_over(self.bundle, configs, {**self.common, **self._network(), **split, **own}, overrides)
        run_evaluation(self.bundle, configs, overrides, folder)

    def _network(self) -> dict[str, Any]:
        """The kind of network and the scale that the weights are of."""
        built = self.record["networks"]["model"]
        widths = {"widths": built["arguments"]["widths"]} if "widths" in built.get("arguments", {}) else {}
        scale = {"longest_side": self.record["longest_side"]} if self.record.get("longest_side") else {}
        return {"architecture": built["architecture"], **widths, **scale}


_SEED = ["$monai.utils.set_determinism(@seed)"]


def _who_is_scored(lesions: Sequence[str], validation: int) -> str:
    if not validation:
        return "no photo is for validation, nothing is scored"
    return f"{counted(validation, 'photo')} scored" if lesions else "the weights know none of the lesions"


def _listed(lesions: Sequence[str]) -> str:
    return ", ".join(lesions) or "none"
