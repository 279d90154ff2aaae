"""The table of nuclei and the summary of a tile."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from skimage.measure import regionprops

from tinylesions.transforms import collect_tables, nuclei_instances, nuclei_table
from tinylesions.transforms.lesion_table import write_table
from tinylesions.transforms.nuclei_table import NUCLEI_COLUMNS, removed_by_reuse, tile_summary

CLASSES = ("background", "plasma", "connective", "other")


def random_case(seed: int, shape: tuple[int, int] = (40, 57)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    class_map = random.choice(4, size=shape, p=[0.35, 0.4, 0.2, 0.05]).astype(np.uint8)
    return class_map, random.random((4, *shape), dtype=np.float32)


def test_against_regionprops():
    class_map, probabilities = random_case(0)
    nuclei = nuclei_instances(class_map, minimum_area=3)
    table = nuclei_table(nuclei, probabilities, CLASSES)
    assert list(table) == list(NUCLEI_COLUMNS)
    regions = regionprops(nuclei[0], intensity_image=probabilities.transpose(1, 2, 0))
    assert len(table) == len(regions) > 30
    assert set(table["nucleus_class"]) == set(CLASSES[1:])
    for row, region in zip(table.to_dict("records"), regions, strict=True):
        top, left, bottom, right = region.bbox
        class_ = class_map[tuple(region.coords[0])]
        assert row["nucleus_class"] == CLASSES[class_]
        assert (row["nucleus"], row["area_px"]) == (region.label, region.area)
        assert (row["centroid_y"], row["centroid_x"]) == pytest.approx(region.centroid)
        assert (row["box_left"], row["box_top"]) == (left, top)
        assert (row["box_width"], row["box_height"]) == (right - left, bottom - top)
        assert row["mean_probability"] == pytest.approx(region.mean_intensity[class_])


def test_no_nucleus_gives_the_columns():
    nothing = nuclei_table(np.zeros((2, 6, 7), dtype=np.int32), np.zeros((4, 6, 7)), CLASSES)
    class_map, probabilities = random_case(1)
    full = nuclei_table(nuclei_instances(class_map, 1), probabilities, CLASSES)
    assert len(nothing) == 0
    assert nothing.dtypes.to_dict() == full.dtypes.to_dict()
    summary = tile_summary(nothing, np.zeros((6, 7), dtype=np.uint8), CLASSES)
    assert summary["background_share"] == 1
    assert summary["plasma_count"] == summary["other_area_px"] == 0


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="4 classes"):
        nuclei_table(np.zeros((2, 6, 7), dtype=np.int32), np.zeros((5, 6, 7)), CLASSES)


def test_summary_counts_the_nuclei_of_the_table():
    class_map, probabilities = random_case(2)
    nuclei = nuclei_instances(class_map, minimum_area=4)
    summary = tile_summary(nuclei_table(nuclei, probabilities, CLASSES), class_map, CLASSES)
    for index, name in enumerate(CLASSES[1:], start=1):
        assert summary[f"{name}_area_px"] == (nuclei[1] == index).sum()
        assert summary[f"{name}_count"] == len(set(nuclei[0][nuclei[1] == index].tolist()))
    assert summary["background_share"] == pytest.approx((class_map == 0).sum() / class_map.size, abs=1e-6)
    assert json.loads(json.dumps(summary)) == summary


def test_what_the_reuse_removes():
    before = np.zeros((8, 20), dtype=np.uint8)
    before[1:5, 1:4] = 1  # stays
    before[1:5, 6:9] = 2  # goes
    before[1:5, 11:14] = 1  # too little of it is left
    before[1:5, 16:20] = 3  # its middle goes, two nuclei are left
    before[7, 0] = 1  # a speck was no nucleus
    after = before.copy()
    after[:, 6:9] = after[2:, 11:14] = after[:, 17:19] = after[7] = 0
    assert removed_by_reuse(before, after, minimum_area=4) == {
        "reuse_removed_nuclei": 2,
        "reuse_removed_px": 12 + 9 + 8 + 1,
    }
    assert removed_by_reuse(before, before, 4) == {"reuse_removed_nuclei": 0, "reuse_removed_px": 0}
    assert removed_by_reuse(after, after * 0, 1)["reuse_removed_nuclei"] == 4


def test_collected_tables_of_tiles(tmp_path):
    tables = []
    for seed, name in enumerate(["007", "NA"]):
        folder = tmp_path / name
        folder.mkdir()
        class_map, probabilities = random_case(seed)
        table = nuclei_table(nuclei_instances(class_map, 3), probabilities, CLASSES)
        table.insert(0, "tile", name)
        write_table(table, folder / "nuclei.csv")
        (folder / "summary.json").write_text(json.dumps({"tile": name, "plasma_count": seed}))
        tables.append(table)
    folders = [tmp_path / "007", tmp_path / "NA"]
    paths = collect_tables(folders, tmp_path / "out", "nuclei.csv", "tile")
    assert [path.name for path in paths] == ["nuclei.csv", "tiles.csv"]
    nuclei = pd.read_csv(paths[0], dtype={"tile": str}, keep_default_na=False)
    pd.testing.assert_frame_equal(nuclei, pd.concat(tables, ignore_index=True), rtol=1e-5)
    tiles = pd.read_csv(paths[1], dtype={"tile": str}, keep_default_na=False)
    assert tiles.to_dict("list") == {"tile": ["007", "NA"], "plasma_count": [0, 1]}
