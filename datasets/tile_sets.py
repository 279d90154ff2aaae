"""Reads tiles from one data set or, to test on tissue of elsewhere, from two; picks a split of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import InputError
from .registry import layout_classes, read_layout

__all__ = ["read_tiles", "select_tiles"]


def read_tiles(
    layout: str, root: Path | str, test_dir: Path | str | None = None, **options: Any
) -> list[dict[str, Any]]:
    """Return the datalist of tiles with nuclei, from one data set or two.

    Without `test_dir` it is that of `read_layout`. With it, every tile of that data set is tested on, whatever folder
    it lies in, and the other one is split into training and validation alone: ``test_share`` is ignored, and MoNuSAC's
    official test folder, where `root` holds it, is left out.

    Args:
        layout: one of nuclei, for both.
        root: the data set to train on.
        test_dir: the data set to test on.
        options: ``split_rule``, ``validation_share``, ``test_share``, ``seed``.

    Raises:
        InputError: a layout without nuclei, an id that is in both data sets, or what the layout's reader finds wrong.
    """
    layout_classes(layout)  # refuses others
    if test_dir is None:
        return read_layout(layout, root, **options)
    own = read_layout(layout, root, **{**options, "test_share": 0})
    own = [item for item in own if item["split"] != "test"]
    # at random: this rule asks for no sources, and here it splits nothing
    other = read_layout(layout, test_dir, split_rule="random", validation_share=0, test_share=0)
    seen = {item["id"].casefold() for item in own}
    doubles = [item["id"] for item in other if item["id"].casefold() in seen]
    if doubles:
        raise InputError(
            f"{test_dir}: {len(doubles)} of its tiles have ids of {root}, such as {doubles[0]}: name the folder of"
            " other tiles, or give those of one folder other names (in conic: a patch_info.csv)."
        )
    both = {item["source"] for item in own} & {item["source"] for item in other}
    if both:
        warnings.warn(f"{min(both)} is a source of tiles in {root} and in {test_dir}", stacklevel=2)
    return [*own, *({**item, "split": "test"} for item in other)]


def select_tiles(datalist: Sequence[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """Return the tiles of one split.

    Raises:
        InputError: there is none; the sentence says which splits there are, and how to get this one.
    """
    items = [item for item in datalist if item["split"] == split]
    if items:
        return items
    there = ", ".join(dict.fromkeys(item["split"] for item in datalist)) or "none"
    remedy = f", or give a {split}_share above 0" if split in ("validation", "test") else ""
    raise InputError(
        f"there is no tile for {split!r} (there are: {there}): choose one of these (validation_split in a training,"
        f" split in an evaluation){remedy}."
    )
