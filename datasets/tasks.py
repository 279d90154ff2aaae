"""Completes the items of a datalist to one form for all tasks: what is unknown weighs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["task_items"]


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
            "label": dict(item.get("label", {})),
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
