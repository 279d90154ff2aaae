"""Ids are unique without case and safe as folder names on every system."""

from __future__ import annotations

from pathlib import PureWindowsPath

import numpy as np
import pytest

from tinylesions.datasets.photos import photo_ids


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["IDRiD_01.jpg", "a.b.c.jpg"], ["IDRiD_01", "a.b.c"]),
        (["d/left/eye.jpg", "d/right/eye.jpg", "other.jpg"], ["left_eye", "right_eye", "other"]),
        (["x/1/eye.jpg", "y/1/eye.jpg"], ["x_1_eye", "y_1_eye"]),
        (["d/eye.jpg", "d/eye.png"], ["eye_jpg", "eye_png"]),
        (["p/eye.jpg", "p/eye.png", "q/eye.jpg"], ["p_eye_jpg", "p_eye_png", "q_eye"]),
        (["p/Eye.jpg", "q/eye.jpg"], ["p_Eye", "q_eye"]),
        (["p/eye.jpg", "q/eye.jpg", "p_eye.jpg"], ["p_eye", "q_eye", "p_eye_2"]),
        (["same.jpg", "same.jpg"], ["same_jpg", "same_jpg_2"]),
        (["con.jpg", "NUL.b.png", "console.jpg"], ["_con", "_NUL.b", "console"]),
        (['a?b*"<>|:.jpg', "dots. .jpg", "...jpg"], ["a_b______", "dots", "_"]),
        (["caf\u00e9/a.jpg", "x/cafe\u0301.jpg", "y/caf\u00e9.jpg"], ["a", "x_cafe\u0301", "y_caf\u00e9"]),
    ],
)
def test_ids(paths, ids):
    assert photo_ids(paths) == ids


def test_ids_of_many_awkward_paths_are_unique_and_safe():
    rng = np.random.default_rng(0)
    pieces = ["a", "A", "_", "..", "con", "x y", ".", "1", "a_1", "b:", "_2", "é"]
    paths = [
        "/".join(rng.choice(pieces, rng.integers(1, 4)))
        + "/"
        + "".join(rng.choice(pieces, 2))
        + rng.choice([".jpg", ".PNG"])
        for _ in range(500)
    ]
    ids = photo_ids(paths)
    assert len({name.lower() for name in ids}) == len(paths)
    for name in ids:
        assert not set(name) & set('<>:"/\\|?*')
        assert name not in ("", ".", "..")
        assert name[-1] not in ". "
        assert PureWindowsPath(name).name == name
        assert name.split(".")[0].lower() not in ("con", "nul")
    assert photo_ids(paths) == ids
