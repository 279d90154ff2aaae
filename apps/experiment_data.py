"""The data sets of a table: one to train on, perhaps another to score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinylesions.apps.experiment_overrides import lay_over
from tinylesions.apps.experiment_table import columns_of
from tinylesions.apps.input_errors import find_input_error
from tinylesions.apps.phantoms import PHANTOM_NOTE
from tinylesions.apps.workflows import build_workflow
from tinylesions.datasets import LAYOUTS, InputError, checked_class_names, read_layout
from tinylesions.monai_bundles import Bundle

__all__ = ["check_layout", "drawn", "elsewhere", "read_photos"]

_SCORED = ("foreground", "mean")
"""Columns of nuclei that are no class."""


def check_layout(table: str, experiment: Mapping[str, Any], layout: str | None, option: str = "--layout") -> None:
    """Refuse a layout of lesions or grades for a table of nuclei, and the other way round.

    Raises:
        InputError: it is one.
    """
    if layout not in LAYOUTS:
        return
    of_nuclei = bool(LAYOUTS[experiment["dataset"]].classes)
    if of_nuclei != bool(LAYOUTS[layout].classes):
        fitting = ", ".join(name for name, other in LAYOUTS.items() if bool(other.classes) == of_nuclei)
        holds, wanted = ("no nuclei", "nuclei") if of_nuclei else ("nuclei", "lesions or grades")
        raise InputError(
            f"the layout {layout!r} holds {holds}, and {table} is of {wanted}: choose one of {fitting} with {option},"
            " or another bundle with --bundle."
        )


def read_photos(
    bundle: Bundle,
    table: str,
    experiment: Mapping[str, Any],
    presets: Sequence[str],
    common: Mapping[str, Any],
    overrides: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Read the data set to train on as the training will.

    Args:
        bundle: the bundle.
        table: the table's name.
        experiment: what its file holds.
        presets: configs over train.json.
        common: overrides of all rows, with ``layout`` and ``dataset_dir``.
        overrides: those of the user; for nuclei they can change the split and the classes.

    Raises:
        InputError: there is no such data set, or the table prints figures of classes that it does not have.
    """
    layout = common["layout"]
    if layout not in LAYOUTS or not LAYOUTS[layout].classes:
        return read_layout(layout, common["dataset_dir"])
    configs = ["train", *presets]
    config = build_workflow(bundle, configs, lay_over(bundle, configs, common, overrides), "train").parser
    try:
        classes = checked_class_names(config.get_parsed_content("class_names"))
        photos: list[dict[str, Any]] = config.get_parsed_content("datalist")
    except RuntimeError as error:  # MONAI's, around what an expression raises
        problem = find_input_error(error)
        if problem is None:
            raise
        raise problem from None
    printed = {column.partition(" ")[0] for column in columns_of(experiment)}
    missing = sorted(printed - {*classes, *_SCORED})
    if missing:
        raise InputError(
            f"{table} prints figures of {', '.join(missing)}, and the classes are {', '.join(classes)}: choose a table"
            " of means."
        )
    return photos


def elsewhere(
    table: str, experiment: Mapping[str, Any], dataset_dir: Path | None, layout: str | None
) -> dict[str, Any]:
    """Overrides of the data set to evaluate on; none where the table scores the test photos of its own.

    Raises:
        InputError: the table scores another data set and none is given, or one is given and it does not.
    """
    official = experiment.get("evaluation_dataset")
    if official is None:
        if dataset_dir is not None or layout is not None:
            option = "--evaluation-dir" if dataset_dir is not None else "--evaluation-layout"
            raise InputError(f"{table} scores the test photos of the data set it trains on: leave {option} out.")
        return {}
    if dataset_dir is None:
        raise InputError(
            f"{table} scores photos of another data set ({official}): name its folder with --evaluation-dir."
        )
    check_layout(table, experiment, layout, "--evaluation-layout")
    return {"layout": layout or official, "dataset_dir": dataset_dir.absolute()}


def drawn(photos: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any photo lies in a drawn data set; those of a datalist can lie anywhere."""
    folders = {Path(photo["image"]).absolute().parent for photo in photos}
    return any((above / PHANTOM_NOTE).is_file() for folder in folders for above in (folder, *folder.parents))
