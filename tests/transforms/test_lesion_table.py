from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import CLASSES, LESIONS, OCTA_LESIONS
from tinylesions.transforms.lesion_table import (
    COLUMNS,
    collect_tables,
    lesion_components,
    photo_summary,
    write_table,
)


def random_case(seed: int, shape: tuple[int, int] = (40, 57)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    label_map = random.choice(len(CLASSES), size=shape, p=[0.5, 0.1, 0.1, 0.15, 0.05, 0.1]).astype(np.uint8)
    label_map[:3] = label_map[:, :5] = 0  # no lesion begins at the frame's corner
    masks = np.stack([label_map == CLASSES.index(lesion) for lesion in LESIONS])
    return masks, random.random((len(LESIONS), *shape), dtype=np.float32)


def overlapping_case(seed: int, shape: tuple[int, int] = (40, 57)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.random((3, *shape)) < 0.2, random.random((3, *shape), dtype=np.float32)


def slow_reference(masks: np.ndarray, probabilities: np.ndarray, lesions: tuple[str, ...]) -> list[list]:
    """Pixel by pixel: the first unseen pixel in reading order starts a component."""
    rows = []
    for channel, lesion in enumerate(lesions):
        components, _ = ndimage.label(masks[channel], structure=np.ones((3, 3)))
        order = []
        for number in components.ravel():
            if number and number not in order:
                order.append(number)
        for component, number in enumerate(order, start=1):
            pixels = [(y, x) for y in range(masks.shape[1]) for x in np.flatnonzero(components[y] == number)]
            ys, xs = [y for y, _ in pixels], [x for _, x in pixels]
            values = [float(probabilities[channel, y, x]) for y, x in pixels]
            box = [min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1]
            centroid = [sum(xs) / len(xs), sum(ys) / len(ys)]
            rows.append([lesion, component, len(pixels), *centroid, *box, sum(values) / len(values), max(values)])
    return rows


@pytest.mark.parametrize("seed", [0, 1])
def test_against_a_slow_reference(seed):
    masks, probabilities = random_case(seed)
    expected = pd.DataFrame(slow_reference(masks, probabilities, LESIONS), columns=list(COLUMNS)).astype(COLUMNS)
    assert len(expected) > 100
    pd.testing.assert_frame_equal(lesion_components(masks, probabilities), expected)


def test_overlapping_lesions_against_a_slow_reference():
    masks, probabilities = overlapping_case(0)
    assert (masks.sum(axis=0) > 1).any()
    reference = slow_reference(masks, probabilities, OCTA_LESIONS)
    expected = pd.DataFrame(reference, columns=list(COLUMNS)).astype(COLUMNS)
    table = lesion_components(masks, probabilities, OCTA_LESIONS)
    pd.testing.assert_frame_equal(table, expected)
    summary = photo_summary(table, masks[0].size, OCTA_LESIONS)
    areas = {f"{lesion}_area_px": int(mask.sum()) for lesion, mask in zip(OCTA_LESIONS, masks, strict=True)}
    assert areas.items() <= summary.items()


def test_touching_corners_join_and_other_lesions_separate():
    masks = np.zeros((4, 5, 5), dtype=bool)
    masks[LESIONS.index("haemorrhage"), [0, 1, 3], [0, 1, 3]] = True
    masks[LESIONS.index("hard_exudate"), 2, 2] = True
    table = lesion_components(masks, np.ones((4, 5, 5), dtype=np.float32))
    assert table[["lesion", "area_px"]].values.tolist() == [["haemorrhage", 2], ["haemorrhage", 1], ["hard_exudate", 1]]


def test_no_lesion_gives_the_columns():
    table = lesion_components(np.zeros((4, 6, 7), dtype=bool), np.zeros((4, 6, 7), dtype=np.float32))
    assert len(table) == 0
    full = lesion_components(*random_case(0))
    assert table.dtypes.to_dict() == full.dtypes.to_dict()
    assert list(table) == list(COLUMNS)


def test_only_the_lesions_looked_for():
    masks, probabilities = random_case(8)
    lesions = ("haemorrhage", "microaneurysm")
    table = lesion_components(masks[[1, 0]], probabilities[[1, 0]], lesions)
    full = lesion_components(masks, probabilities)
    expected = pd.concat([full[full["lesion"] == lesion] for lesion in lesions], ignore_index=True)
    pd.testing.assert_frame_equal(table, expected)
    summary = photo_summary(table, 5, lesions)
    whole = photo_summary(full, 5)
    assert summary == {key: value for key, value in whole.items() if "exudate" not in key}
    assert len(summary) == 5


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(4, 6, 7\) and \(6, 6, 7\)"):
        lesion_components(np.zeros((4, 6, 7), dtype=bool), np.zeros((6, 6, 7), dtype=np.float32))
    with pytest.raises(ValueError, match="of 3 lesions"):
        lesion_components(np.zeros((4, 6, 7), dtype=bool), np.zeros((4, 6, 7), dtype=np.float32), OCTA_LESIONS)


def test_summary_counts_and_areas():
    masks, probabilities = random_case(2)
    masks[LESIONS.index("soft_exudate")] = False
    summary = photo_summary(lesion_components(masks, probabilities), 1234)
    assert summary["field_of_view_area_px"] == 1234
    assert (summary["soft_exudate_count"], summary["soft_exudate_area_px"]) == (0, 0)
    for lesion, mask in zip(LESIONS, masks, strict=True):
        assert summary[f"{lesion}_area_px"] == mask.sum()
        assert summary[f"{lesion}_count"] == ndimage.label(mask, structure=np.ones((3, 3)))[1]
    assert json.loads(json.dumps(summary)) == summary


def photo_folder(folder, name, masks, probabilities, **facts):
    folder.mkdir()
    table = lesion_components(masks, probabilities)
    summary = {"photo": name} | photo_summary(table, 99) | facts
    table.insert(0, "photo", name)
    write_table(table, folder / "lesions.csv")
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return table


def test_collect_joins_the_photos_in_order(tmp_path):
    empty = np.zeros((4, 40, 57), dtype=bool)
    expected = [
        photo_folder(tmp_path / "b", "007", *random_case(3), seconds=1.5),
        photo_folder(tmp_path / "c", "healthy", empty, random_case(3)[1]),
        photo_folder(tmp_path / "d", "NA", *random_case(7)),
        photo_folder(tmp_path / "a", "Ä, 2", *random_case(4)),
    ]
    paths = collect_tables([tmp_path / name for name in "bcda"], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["lesions.csv", "photos.csv"]
    lesions = pd.read_csv(paths[0], dtype={"photo": str}, keep_default_na=False)
    pd.testing.assert_frame_equal(lesions, pd.concat(expected, ignore_index=True), rtol=1e-5)
    photos = pd.read_csv(paths[1], dtype={"photo": str}, keep_default_na=False)
    assert photos["photo"].tolist() == ["007", "healthy", "NA", "Ä, 2"]
    assert photos["seconds"].tolist() == ["1.5", "", "", ""]
    for lesion in LESIONS:
        assert photos[f"{lesion}_count"].tolist() == [(table["lesion"] == lesion).sum() for table in expected]


def test_collecting_twice_changes_nothing(tmp_path):
    photo_folder(tmp_path / "a", "1", *random_case(5))
    once, _ = collect_tables([tmp_path / "a"], tmp_path / "out")
    assert once.read_bytes() == (tmp_path / "a" / "lesions.csv").read_bytes()


def test_collect_names_an_incomplete_folder(tmp_path):
    photo_folder(tmp_path / "a", "1", *random_case(6))
    photo_folder(tmp_path / "b", "2", *random_case(6))
    (tmp_path / "b" / "summary.json").write_text('{"photo": ')
    with pytest.raises(InputError, match="predict this photo again") as caught:
        collect_tables([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert str(tmp_path / "b") in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_collect_without_folders(tmp_path):
    with pytest.raises(InputError, match="no photo was predicted"):
        collect_tables([], tmp_path / "out")
    assert not (tmp_path / "out").exists()
