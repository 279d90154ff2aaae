"""`tinylesions check-data` on data sets of nuclei, and their refusal where lesions are due."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

SIZE = (20, 24)
XML = """<Annotations><Annotation><Attributes><Attribute Name="{name}"/></Attributes><Regions><Region><Vertices>
<Vertex X="2.5" Y="2.5"/><Vertex X="8.5" Y="2.5"/><Vertex X="8.5" Y="8.5"/><Vertex X="2.5" Y="8.5"/>
</Vertices></Region></Regions></Annotation></Annotations>"""


@pytest.fixture
def conic(tmp_path) -> Path:
    """Eight images of three patches; a nucleus of 6 × 5 pixels in each, of a class from 1 to 6."""
    folder = tmp_path / "data [red]"
    folder.mkdir()
    labels = np.zeros((24, *SIZE, 2), np.uint16)
    for number in range(24):
        labels[number, 3:9, 4:9] = 1, 1 + number % 6
    np.save(folder / "images.npy", np.full((24, *SIZE, 3), 200, np.uint8))
    np.save(folder / "labels.npy", labels)
    names = [f"tile_{image}-{number:04}" for image in range(8) for number in range(3)]
    (folder / "patch_info.csv").write_text("\n".join(["patch_info", *names]))
    return folder


@pytest.fixture
def monusac(tmp_path) -> Path:
    for number in range(6):
        folder = tmp_path / "MoNuSAC_images_and_annotations" / f"TCGA-AA-{number:04}-01Z-00-DX1"
        folder.mkdir(parents=True)
        Image.new("RGB", (24 + number, 20)).save(folder / f"{folder.name}_1.tif")
        (folder / f"{folder.name}_1.xml").write_text(XML.format(name="Lymphocyte"))
    return tmp_path


def row(answer: str, name: str) -> list[str]:
    return next(line.split()[1:] for line in answer.split("\n") if line.split()[:1] == [name])


def test_table_of_the_splits(tinylesions, conic, tmp_path):
    answer = tinylesions("check-data", "conic", conic, "--csv", tmp_path / "tiles.csv")
    assert answer.code == 0
    assert "warning" not in answer.out
    assert f"conic in {conic}: 24 tiles" in answer.out
    assert row(answer.out, "tiles") == ["18", "3", "3", "24"]
    assert row(answer.out, "sources") == ["6", "1", "1", "8"]
    assert row(answer.out, "size") == ["24×20"] * 4
    assert row(answer.out, "background") == [f"{1 - 30 / 480:.2%}"] * 4
    assert row(answer.out, "plasma")[-2:] == ["4", f"{4 * 30 / 24 / 480:.2%}"]
    table = pd.read_csv(tmp_path / "tiles.csv")
    assert table["split"].value_counts().to_dict() == {"training": 18, "validation": 3, "test": 3}
    assert (table["background pixels"] == 450).all()
    assert (table.filter(like=" nuclei").sum(axis=1) == 1).all()


def test_other_classes(tinylesions, conic):
    answer = tinylesions("check-data", "conic", conic, "--class-names", "background, a,b,c,d,e,f,never")
    assert answer.code == 0
    assert row(answer.out, "never") == ["0", "0.00%"] * 4
    assert "warning: no pixel is of never, which cannot be learnt so; if the classes" in answer.out
    answer = tinylesions("check-data", "conic", conic, "--class-names", "background,a,b")
    assert answer.code == 2
    assert answer.out.count("problem: tile_") == 16
    assert "patch 23 has class 6, but there are 3 class names" in answer.out
    assert "16 tiles have problems: repair" in answer.err


def test_a_flood_of_problems_is_cut(tinylesions, conic):
    labels = np.load(conic / "labels.npy")
    labels[..., 1] += 6 * (labels[..., 1] > 0).astype(np.uint16)
    np.save(conic / "labels.npy", labels)
    answer = tinylesions("check-data", "conic", conic)
    assert answer.out.count("problem: tile_") == 20
    assert "and 4 tiles more; --csv" in answer.out
    assert "24 tiles have problems" in answer.err


def test_patches_without_names(tinylesions, conic):
    (conic / "patch_info.csv").unlink()
    assert "--split-rule random" in tinylesions("check-data", "conic", conic).problem
    answer = tinylesions("check-data", "conic", conic, "--split-rule", "random")
    assert answer.code == 0
    assert row(answer.out, "tiles") == ["20", "2", "2", "24"]


def test_outlines(tinylesions, monusac):
    answer = tinylesions("check-data", "monusac", monusac)
    assert answer.code == 0
    assert row(answer.out, "tiles") == ["4", "1", "1", "6"]
    assert "24×20 to 29×20" in answer.out
    assert row(answer.out, "lymphocyte")[-2] == "6"
    assert "no pixel is of epithelial or macrophage or neutrophil, which" in answer.out
    assert "with --class-names BACKGROUND,NAME,…" in answer.out
    next(monusac.rglob("*0003*.xml")).write_text(XML.format(name="Plasma"))
    answer = tinylesions("check-data", "monusac", monusac)
    assert answer.code == 2
    assert "problem: TCGA-AA-0003-01Z-00-DX1_1: " in answer.out
    assert "1 tile has problems" in answer.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--save-datalist", "list.json"), "a datalist holds no nuclei: leave --save-datalist out"),
        (("--class-names", "background"), "class_names: ['background'] holds fewer than two names"),
        (("--class-names", "background,a,a"), "'a' is there twice"),
        (("--class-names", "background,,a"), "'' is no name"),
        (("--class-names", "background,mean"), "'mean' already names a score"),
        (("--split-rule", "patient"), "no split_rule 'patient'"),
    ],
)
def test_wrong_options(tinylesions, conic, monkeypatch, tmp_path, options, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in tinylesions("check-data", "conic", conic, *options).problem
    assert not Path("list.json").exists()


@pytest.mark.parametrize("options", [("--class-names", "a,b"), ("--split-rule", "random")])
def test_options_of_nuclei_for_lesions(tinylesions, tmp_path, options):
    assert "leave them out for idrid" in tinylesions("check-data", "idrid", tmp_path, *options).problem
