"""What a user overrides in all rows of a table: `tinylesions experiment --set ID=VALUE`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from fire.parser import DefaultParseValue

from tinylesions.apps.workflows import build_workflow
from tinylesions.datasets import InputError
from tinylesions.monai_bundles import Bundle

__all__ = ["check_overrides", "evaluation_configs", "in_words", "lay_over", "parse_overrides"]

_OPTIONS = {
    "dataset_dir": "--dataset-dir",
    "layout": "--layout",
    "output_dir": "--out",
    "ckpt_dir": "--out",
    "ckpt_path": "--out",
    "pretrained": "--pretrained",
    "seed": "--seeds",
}
"""Ids that the command sets itself → the option for it."""


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``ID=VALUE`` as MONAI's command line reads ``--ID VALUE``.

    A value is a number, list or another literal of Python, in which words need no quotes, or else a string; one that
    starts with ``$``, ``@`` or ``%`` is an expression of MONAI's.

    Raises:
        InputError: a text has no id or no ``=``, or an id is there twice.

    Example:
        >>> parse_overrides(["max_epochs=5", "validate::inferer::overlap=0.5", "class_names=[background, other]"])
        {'max_epochs': 5, 'validate#inferer#overlap': 0.5, 'class_names': ['background', 'other']}
    """
    overrides: dict[str, Any] = {}
    for text in texts:
        given, equals, value = text.partition("=")
        id = given.strip().replace("::", "#")
        if not equals or not id:
            raise InputError(f"--set {text!r}: give the id of a config and its value, as in --set max_epochs=5.")
        if id in overrides:
            raise InputError(f"--set {id}: it is given twice, give it once.")
        overrides[id] = DefaultParseValue(value.strip())
    return overrides


def check_overrides(
    bundle: Bundle, table: str, experiment: Mapping[str, Any], presets: Sequence[str], overrides: Mapping[str, Any]
) -> None:
    """Refuse overrides that nothing would read, or that would make the rows of a table something else.

    Raises:
        InputError: an option of the command is for that id, a row of the table sets it itself, or no config has it.
    """
    if not overrides:
        return
    for id in overrides:
        if id in _OPTIONS:
            raise InputError(f"--set {id}: {_OPTIONS[id]} is for that.")
        for row in experiment["rows"]:
            for own in (*row["train"], *row["evaluate"]):
                if _covers(id, own) or _covers(own, id):
                    raise InputError(
                        f"--set {id}: the row {row['name']!r} of {table} is made by its own {own}, leave it out."
                    )
    evaluated = [evaluation_configs(row, presets) for row in experiment["rows"] if "log" not in row]
    read: set[str] = set()
    for configs in {("train", *presets), *map(tuple, evaluated)}:
        read |= lay_over(bundle, configs, experiment.get("overrides", {}), overrides).keys()
    for id in overrides:
        if id not in read:
            raise InputError(
                f"--set {id}: the configs of {bundle.name} have no such id, see {bundle.root / 'configs'}."
            )


def lay_over(
    bundle: Bundle, configs: Sequence[str], below: Mapping[str, Any], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Lay a user's overrides over those of a table, where the configs have their ids.

    An evaluation has ids that a training lacks, and the other way round.

    Args:
        bundle: the bundle.
        configs: names of the configs that they are for.
        below: the table's; those of an id that a user overrides, or of a part of it, are left out.
        overrides: the user's.
    """
    if not overrides:
        return dict(below)
    # copies, since an id within another, e.g. losses#binary, is written into the value of the other
    kept = copy.deepcopy({id: value for id, value in below.items() if not any(_covers(o, id) for o in overrides)})
    config = build_workflow(bundle, configs, copy.deepcopy(kept), "train").parser
    return {**kept, **{id: copy.deepcopy(value) for id, value in overrides.items() if id in config}}


def evaluation_configs(row: Mapping[str, Any], presets: Sequence[str]) -> list[str]:
    """The configs with which a row is evaluated, in the order in which they override each other."""
    integrating = ["evaluate_outputs"] if row.get("integrates") else []
    return ["train", *presets, "evaluate", *integrating, *row.get("configs", [])]


def in_words(overrides: Mapping[str, Any]) -> str:
    """For a sentence.

    Example:
        >>> in_words({"split_rule": "random", "max_epochs": 5})
        ', with split_rule=random, max_epochs=5'
    """
    return f", with {', '.join(f'{id}={value}' for id, value in overrides.items())}" if overrides else ""


def _covers(id: str, other: str) -> bool:
    """Whether an id is another or holds it."""
    return f"{other}#".startswith(f"{id}#")
