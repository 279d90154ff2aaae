"""Items of all kinds get the same keys, and weights that say what is known."""

from __future__ import annotations

import pytest

from tinylesions.datasets.tasks import task_items

BASE = {"id": "eye", "image": "eye.jpg", "split": "training"}
MASKS = {"haemorrhage": "eye_HE.tif"}


@pytest.mark.parametrize(
    ("truth", "label", "label_weight", "grade", "grade_weight"),
    [
        ({"label": MASKS}, MASKS, 1.0, -1, 0.0),
        ({"label": {}}, {}, 1.0, -1, 0.0),
        ({"grade": 0}, {}, 0.0, 0, 1.0),
        ({"grade": 3, "label": MASKS}, MASKS, 1.0, 3, 1.0),
        ({"grade": 3, "label": MASKS, "pseudo": []}, MASKS, 1.0, 3, 1.0),
        ({"grade": 3, "label": MASKS, "pseudo": ["grade"]}, MASKS, 1.0, 3, 0.25),
        ({"grade": 3, "label": {}, "pseudo": ["label"]}, {}, 0.25, 3, 1.0),
        ({"grade": 3, "label": {}, "pseudo": ["label", "grade"]}, {}, 0.25, 3, 0.25),
    ],
)
def test_weights(truth, label, label_weight, grade, grade_weight):
    items = [{**BASE, **truth, "optic_disc": "eye_OD.tif"}]
    assert task_items(items, pseudo_weight=0.25) == [
        {**BASE, "label": label, "label_weight": label_weight, "grade": grade, "grade_weight": grade_weight}
    ]


def test_weights_are_floats_and_items_share_nothing():
    first, second = task_items([{**BASE, "grade": 1, "label": {}, "pseudo": ["label"]}, {**BASE, "grade": 2}], 1)
    assert [type(item[key]) for item in (first, second) for key in ("label_weight", "grade_weight")] == [float] * 4
    first["label"]["haemorrhage"] = "changed"
    assert second["label"] == {}


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_weight_out_of_range(weight):
    with pytest.raises(ValueError, match="pseudo_weight"):
        task_items([BASE], weight)
