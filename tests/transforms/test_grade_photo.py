from __future__ import annotations

import json
import math

import pandas as pd
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from tinylesions.datasets.grades import GRADES
from tinylesions.datasets.lesions import CLASSES
from tinylesions.transforms import GradePhotod, SaveLesionsd, collect_tables


@pytest.mark.parametrize("grade", range(5))
def test_facts(grade):
    logits = [0.3, -1.0, 0.5, 0.1, -0.2]
    logits[grade] += 2
    facts = GradePhotod()({"pred_grade": MetaTensor(torch.tensor(logits))})["facts"]
    total = sum(map(math.exp, logits))
    assert facts == {
        "grade": grade,
        "grade_name": GRADES[grade],
        **{f"grade_probability_{n}": pytest.approx(math.exp(x) / total, abs=6e-7) for n, x in enumerate(logits)},
        "referable": grade in (2, 3, 4),
    }
    assert all(len(f"{facts[f'grade_probability_{n}']:.9f}".rstrip("0")) <= 8 for n in range(5))
    json.dumps(facts)  # plain numbers


def test_large_logits_and_half_precision():
    facts = GradePhotod("x")({"x": torch.tensor([500.0, -500, 0, 0, 0]).bfloat16()})["facts"]
    assert [facts[f"grade_probability_{n}"] for n in range(5)] == [1, 0, 0, 0, 0]


def test_other_facts_stay_and_the_input_too():
    data = {"pred_grade": torch.zeros(5), "facts": {"eye": "left"}}
    result = GradePhotod()(data)
    assert result["facts"]["eye"] == "left"
    assert data["facts"] == {"eye": "left"}


@pytest.mark.parametrize("logits", [torch.zeros(4), torch.zeros(1, 5), torch.tensor([0, 0, float("nan"), 0, 0])])
def test_no_logits_of_grades(logits):
    with pytest.raises(ValueError, match="5 finite numbers"):
        GradePhotod()({"pred_grade": logits})


def test_columns_of_the_photos_table(tmp_path):
    folders = []
    for name, grade in (("a", 1), ("b", 4)):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (40, 30), (190, 90, 30)).save(path)
        data = {
            "pred_grade": 3 * torch.eye(5)[grade],
            "pred_segmentation": torch.full((5, 30, 40), 0.2),
            "field_of_view": torch.ones(1, 30, 40),
            "photo": str(path),
            "id": name,
        }
        save = SaveLesionsd("pred_segmentation", tmp_path / "out", classes=CLASSES[:5])
        folders.append(save(GradePhotod()(data))["output"])
    lesions, photos = collect_tables(folders, tmp_path / "out")
    table = pd.read_csv(photos)
    assert table["grade"].tolist() == [1, 4]
    assert table["grade_name"].tolist() == ["mild", "proliferative"]
    assert table["referable"].tolist() == [False, True]
    probabilities = table[[f"grade_probability_{n}" for n in range(5)]]
    assert probabilities.sum(axis=1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert probabilities["grade_probability_4"].tolist() == pytest.approx(
        [1 / (4 + math.exp(3)), math.exp(3) / (4 + math.exp(3))], abs=1e-6
    )
    assert not [column for column in pd.read_csv(lesions) if "grade" in column]
