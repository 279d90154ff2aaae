"""Layouts by name give what their readers give."""

from __future__ import annotations

import pytest

from tinylesions.datasets import (
    ALL_LESIONS,
    CONIC_CLASSES,
    LAYOUTS,
    LESIONS,
    MONUSAC_CLASSES,
    OCTA_LESIONS,
    InputError,
    layout_classes,
    read_layout,
    read_masks,
    save_datalist,
    task_items,
)
from tinylesions.datasets.conic import conic
from tinylesions.datasets.ddr import ddr_segmentation
from tinylesions.datasets.drac import drac_segmentation
from tinylesions.datasets.graded_ddr import ddr_grading
from tinylesions.datasets.graded_eyepacs import eyepacs
from tinylesions.datasets.graded_idrid import idrid_grading
from tinylesions.datasets.idrid import idrid_segmentation
from tinylesions.datasets.monusac import monusac

from .layouts import (
    write_conic,
    write_ddr,
    write_ddr_grading,
    write_drac,
    write_eyepacs,
    write_idrid,
    write_idrid_grading,
    write_monusac,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*where the paper has:UserWarning")


def test_layouts_by_name(tmp_path):
    idrid, ddr = (
        write_idrid(tmp_path / "idrid", (1, 2), (55,)),
        write_ddr(tmp_path / "ddr", {"train": 2, "valid": 1, "test": 1}),
    )
    assert read_layout("idrid", idrid) == idrid_segmentation(idrid)
    assert read_layout("idrid_43_11", idrid) == idrid_segmentation(idrid, "43/11/27")
    assert read_layout("ddr", ddr) == ddr_segmentation(ddr)
    assert len(read_layout("ddr", str(ddr))) == 4
    save_datalist(idrid_segmentation(idrid), tmp_path / "idrid" / "own.json")
    own = read_layout("json", tmp_path / "idrid" / "own.json")
    assert [item["id"] for item in own] == ["IDRiD_01", "IDRiD_02", "IDRiD_55"]


def test_grading_layouts_by_name(tmp_path):
    grades = dict.fromkeys(range(1, 4), 2)
    idrid = write_idrid_grading(tmp_path / "idrid", grades, grades)
    ddr = write_ddr_grading(tmp_path / "ddr", {"train": (0, 1), "valid": (3,), "test": (4,)})
    kaggle = write_eyepacs(tmp_path / "eyepacs", {"10_left": 0, "10_right": 1}, {"1_left": 4})
    for name, root, read in (("idrid_grading", idrid, idrid_grading), ("ddr_grading", ddr, ddr_grading)):
        assert read_layout(name, root) == read(root)
    assert read_layout("eyepacs", str(kaggle)) == eyepacs(kaggle)
    for items in (read_layout("idrid_grading", idrid), read_layout("eyepacs", kaggle)):
        save_datalist(items, tmp_path / "own.json")
        assert read_layout("json", tmp_path / "own.json") == items


def test_octa_images_by_name(tmp_path):
    drac = write_drac(tmp_path, {1: ("IRMA", "NPA"), 2: ("NPA",), 10: ("IRMA", "NV")}, (3, 11))
    items = read_layout("drac", str(drac))
    assert items == drac_segmentation(drac)
    save_datalist(items, tmp_path / "own.json")
    assert read_layout("json", tmp_path / "own.json") == items
    save_datalist([item for item in items if item["split"] == "test"], tmp_path / "test.json")
    with pytest.raises(InputError, match="entry 1 of test"):
        read_layout("json", tmp_path / "test.json")


def test_black_masks_are_wrong_where_an_absent_lesion_has_no_file():
    assert {name for name, layout in LAYOUTS.items() if not layout.allow_empty} == {"idrid", "idrid_43_11", "drac"}


def test_lesions_that_the_labels_may_name():
    lesions = {name: layout.lesions for name, layout in LAYOUTS.items()}
    assert lesions.pop("drac") == OCTA_LESIONS
    assert lesions.pop("json") == lesions.pop("folder") == ALL_LESIONS
    assert [name for name, layout in LAYOUTS.items() if layout.own_lesions] == ["folder"]
    assert lesions.pop("conic") == lesions.pop("monusac") == ()
    assert set(lesions.values()) == {LESIONS}


def test_nuclei_by_name(tmp_path):
    tiles = write_conic(tmp_path / "conic", [f"a{image}-{number}" for image in range(4) for number in range(2)])
    options = {"split_rule": "random", "validation_share": 0.25, "test_share": 0, "seed": 3}
    assert read_layout("conic", str(tiles)) == conic(tiles)
    assert read_layout("conic", tiles, **options) == conic(tiles, "random", 0.25, 0, 3) != conic(tiles)
    patients = write_monusac(tmp_path / "monusac", {f"TCGA-AA-{number}-01Z": 2 for number in range(4)})
    assert read_layout("monusac", patients, **options) == monusac(patients, "random", 0.25, 0, 3)
    classes = {name: layout.classes for name, layout in LAYOUTS.items() if layout.classes}
    assert classes == {"conic": CONIC_CLASSES, "monusac": MONUSAC_CLASSES}


@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if not layout.classes])
def test_no_options_for_lesions_and_grades(tmp_path, name):
    with pytest.raises(
        InputError, match=f"^the layout '{name}' holds no nuclei and has no seed: choose conic, monusac"
    ):
        read_layout(name, tmp_path, seed=1)


def test_labels_of_nuclei_are_no_masks_of_lesions(tmp_path):
    item = conic(write_conic(tmp_path, ["a-1", "b-1", "c-1"]))[0]
    for refuse in (lambda: read_masks(item["label"], (8, 8)), lambda: task_items([item])):
        with pytest.raises(InputError, match=r"labels\.npy: this file marks nuclei, no lesions; choose"):
            refuse()


@pytest.mark.parametrize("name", ["IDRiD", "messidor", ""])
def test_unknown_layout_names_the_known_ones(tmp_path, name):
    with pytest.raises(InputError, match=f"no layout '{name}': choose one of {', '.join(LAYOUTS)}"):
        read_layout(name, tmp_path)


def test_classes_of_a_layout_of_nuclei():
    assert layout_classes("conic") == list(CONIC_CLASSES)
    assert layout_classes("monusac") == list(MONUSAC_CLASSES)
    with pytest.raises(InputError, match="the layout 'drac' holds no nuclei: choose conic, monusac"):
        layout_classes("drac")
    with pytest.raises(InputError, match="no layout 'CoNIC': choose one of"):
        layout_classes("CoNIC")
