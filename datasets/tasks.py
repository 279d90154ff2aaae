"""Completes the items of a datalist to one form for all tasks: what is unknown weighs nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError
from .masks import label_masks

__all__ = ["TASKS", "labels_digest", "scored_tasks", "task_items"]

TASKS = {"grade": "grade_weight", "segmentation": "label_weight"}
"""The tasks, and the key of the weight that each one's truth has in an item."""


def task_items(items: Iterable[Mapping[str, Any]], pseudo_weight: float = 1.0) -> list[dict[str, Any]]:
    """Give every item the same keys, so that photos with masks, with a grade or with both share batches.

    Args:
        items: a datalist. An item without the key ``label`` has unknown masks, one with an empty ``label`` is known to
            have no lesion; one without ``grade`` has an unknown grade. ``pseudo`` names which of them a network wrote.
        pseudo_weight: of what a network wrote, 0 to 1. Scores count only truths whose weight is exactly 1: give
            photos to score 0, whatever the training takes.

    Returns:
        a dict of exactly ``id``, ``image``, ``split``, ``label`` ({} if unknown), ``label_weight``, ``grade`` (-1 if
        unknown) and ``grade_weight`` for each item. A weight is 0.0 for an unknown truth, ``pseudo_weight`` for one
        that a network wrote, else 1.0.

    Raises:
        InputError: the datalist is of nuclei.
        ValueError: ``pseudo_weight`` is out of range.

    Example:
        >>> task_items([{"id": "eye", "image": "eye.jpg", "split": "test", "grade": 2}])[0]["label_weight"]
        0.0
    """
    if not 0 <= pseudo_weight <= 1:
        raise ValueError(f"pseudo_weight must be 0 to 1, not {pseudo_weight}")
    return [
        {
            "id": item["id"],
            "image": item["image"],
            "split": item["split"],
            "label": label_masks(item.get("label", {})),
            "label_weight": _weight(item, "label", pseudo_weight),
            "grade": item.get("grade", -1),
            "grade_weight": _weight(item, "grade", pseudo_weight),
        }
        for item in items
    ]


def _weight(item: Mapping[str, Any], truth: str, pseudo_weight: float) -> float:
    if truth not in item:
        return 0.0
    return float(pseudo_weight) if truth in item.get("pseudo", ()) else 1.0


def scored_tasks(items: Sequence[Mapping[str, Any]], tasks: Sequence[str], root: Path | str, split: str) -> list[str]:
    """Return those of the tasks of which some photo has a true label.

    Args:
        items: what `task_items` gave.
        tasks: names of ``TASKS``.
        root: the data set, for the sentence.
        split: of the items, likewise.

    Raises:
        InputError: an unknown task, or no photo has a true label of any.
    """
    for task in tasks:
        if task not in TASKS:
            raise InputError(f"there is no task {task!r}: choose from {', '.join(TASKS)}.")
    scored = [task for task in tasks if any(item[TASKS[task]] == 1 for item in items)]
    if not scored:
        raise InputError(
            f"{root}: no photo of {split!r} has a true label for {' or '.join(tasks) or 'any task'}, and pseudo-labels"
            " are not scored: choose another split or data set."
        )
    return scored


def labels_digest(items: Iterable[Mapping[str, Any]]) -> str:
    """Return a digest of a datalist's labels, by which a training knows whether they are those it began with.

    It covers ids, splits, grades, the names of the masks' files and the content of those that a network wrote.
    """
    digest = hashlib.sha256()
    for item in items:
        masks = item.get("label", {})
        facts = [item["id"], item["split"], item.get("grade"), item.get("pseudo"), sorted(masks)]
        digest.update(json.dumps(facts).encode())
        if "label" in item.get("pseudo", ()):
            for path in (Path(masks[lesion]) for lesion in sorted(masks)):
                if path.is_file():  # a missing one is named when it is loaded
                    digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
