"""Items of all kinds get the same keys, and weights that say what is known."""

from __future__ import annotations

import pytest

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.tasks import labels_digest, scored_tasks, task_items

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


def test_scored_tasks_are_those_with_a_true_label():
    photos = [{**BASE, "grade": 1, "pseudo": ["grade"]}, {**BASE, "label": {}}]
    items = task_items(photos, pseudo_weight=0)
    assert scored_tasks(items, ["grade", "segmentation"], "set.json", "test") == ["segmentation"]
    with pytest.raises(InputError, match=r"set.json: no photo of 'test' has a true label for grade,"):
        scored_tasks(items, ["grade"], "set.json", "test")
    with pytest.raises(InputError, match="no task 'grading': choose from grade, segmentation"):
        scored_tasks(items, ["grading"], "set.json", "test")


def test_a_digest_knows_every_change_of_a_label(tmp_path):
    mask = tmp_path / "eye_HE.tif"
    mask.write_bytes(b"first")
    item = {**BASE, "grade": 2, "label": {"haemorrhage": str(mask)}, "pseudo": ["label"]}
    variants = [
        item,
        {**item, "grade": 3},
        {**item, "split": "validation"},
        {**item, "pseudo": []},
        {**item, "label": {"microaneurysm": str(mask)}},
        {key: value for key, value in item.items() if key != "label"},
    ]
    digests = [labels_digest([variant]) for variant in variants]
    assert len(set(digests)) == len(digests)
    mask.write_bytes(b"second")
    assert labels_digest([item]) != digests[0]
    assert labels_digest([{**item, "image": "elsewhere.jpg"}]) == labels_digest([item])
