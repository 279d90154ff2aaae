"""From a network's logits to a photo's grade of diabetic retinopathy."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor

from tinylesions.datasets.grades import GRADES, REFERABLE_GRADE

__all__ = ["GradePhotod", "grade_facts"]


def grade_facts(logits: torch.Tensor) -> dict[str, int | str | float | bool]:
    """What the logits of a photo's grades say.

    Args:
        logits: (5,) float, of the grades 0 to 4.

    Returns:
        ``grade``, the most probable one, ``grade_name``, ``grade_probability_0`` to ``grade_probability_4`` (softmax,
        six digits) and ``referable``: whether that grade is one to refer to an ophthalmologist.

    Raises:
        ValueError: the logits have another shape, or one is no finite number.

    Example:
        >>> facts = grade_facts(torch.tensor([0.0, 0.0, 3.0, 1.0, 0.0]))
        >>> facts["grade"], facts["referable"], facts["grade_probability_2"]
        (2, True, 0.778394)
    """
    plain = convert_to_tensor(logits, track_meta=False).detach().double().cpu()
    if tuple(plain.shape) != (len(GRADES),) or not plain.isfinite().all():
        raise ValueError(f"the logits of a photo's grades are {len(GRADES)} finite numbers, got {plain}")
    probabilities = plain.softmax(dim=0).tolist()
    grade = int(plain.argmax())
    return {
        "grade": grade,
        "grade_name": GRADES[grade],
        **{f"grade_probability_{index}": round(probability, 6) for index, probability in enumerate(probabilities)},
        "referable": grade >= REFERABLE_GRADE,
    }


class GradePhotod(MapTransform):
    """Add a photo's grade to its facts, which :class:`~tinylesions.transforms.SaveLesionsd` writes.

    Args:
        keys: key of the logits (5,).
        facts_key: key of the facts, a mapping that may be there already.
        allow_missing_keys: do not raise where the logits are missing.

    Raises:
        ValueError: see :func:`grade_facts`.
    """

    def __init__(
        self, keys: KeysCollection = "pred_grade", facts_key: str = "facts", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.facts_key = facts_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the facts."""
        items = dict(data)
        for key in self.key_iterator(items):
            items[self.facts_key] = {**items.get(self.facts_key, {}), **grade_facts(items[key])}
        return items
