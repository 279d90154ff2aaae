"""The road from no data to lesion maps in a few minutes: the work behind `tinylesions demo`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape

from tinylesions.apps.phantoms import write_phantoms
from tinylesions.apps.predict import predict
from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import CONIC_CLASSES, OCTA_LESIONS, InputError, read_layout, select
from tinylesions.monai_bundles import Bundle

__all__ = ["run_demo"]

PHOTOS = (16, 4, 4)
GRADED_PHOTOS = (32, 8, 10)
SIZE = (712, 1072)
"""A quarter of IDRiD's height and width: a microaneurysm is 3 to 6 pixels wide."""
OCTA_PHOTOS = (16, 4, 4)
OCTA_SIZE = (256, 256)
"""What the small preset's networks take."""
TILES = (24, 4, 4)
TILE_SIZE = (256, 256)


def run_demo(bundle: Bundle, output_dir: Path, console: Console) -> pd.DataFrame:
    """Draw phantoms, train the small preset, score it on held-out phantoms and predict those.

    Args:
        bundle: the bundle.
        output_dir: folder of everything; drawings and training are kept when it is run again.
        console: where to print.

    Returns:
        The table of scores.

    Raises:
        InputError: the folder holds another bundle's demonstration.
    """
    # the demonstration's own 24 photos are meant to be fewer than IDRiD's or DRAC2022's
    warnings.filterwarnings("ignore", message=".*where the paper has")
    data, run, results = output_dir / "data", output_dir / "run", output_dir / "results"
    _refuse_other_bundle(run / "train_config.json", bundle, output_dir)
    road = _road(bundle)
    dataset_dir = data
    if bundle.graded:
        dataset_dir = _draw_and_pseudo_label(bundle, data, run, console)
    else:
        height, width = road.size
        console.print(f"[b]1. {sum(road.photos)} phantoms[/b] of {width}×{height} px in {escape(str(data))}")
        if not data.exists():
            write_phantoms(data, road.layout, road.photos, road.size, seed=0)

    overrides = {**road.overrides, "dataset_dir": dataset_dir, "ckpt_dir": run, "output_dir": run}
    console.print(f"[b]2. Training[/b] {bundle.name} with the cpu preset in {escape(str(run))}")
    if not (run / "trained").is_file():
        training = build_workflow(bundle, ["train", "cpu"], overrides, "train", road.training)
        run_workflow(training, run / "train_config.json")
        (run / "trained").touch()

    console.print(f"[b]3. Evaluation[/b] on the {road.scored}")
    run_workflow(build_workflow(bundle, ["train", "cpu", "evaluate"], overrides, "train"))
    scores = pd.read_csv(run / "scores.csv", index_col="score")

    console.print(f"[b]4. Prediction[/b] of {road.predicted} at full size in {escape(str(results))}")
    masked = data / "segmentation" if bundle.graded else data
    photos = [Path(item["image"]) for item in select(read_layout(road.layout, masked), "test")]
    predict(photos, bundle, results, run / road.weights, ["cpu"], say=partial(console.print, markup=False))

    mean = scores["mean"][road.score]
    console.print(f"\n[b]Mean {road.score} on held-out phantoms: {float(mean):.3f}[/b]")
    if bundle.graded:
        console.print(f"[b]Accuracy of the grade on held-out phantoms: {float(scores['grade']['accuracy']):.3f}[/b]")
    console.print(f"A score on drawings says that the software works, nothing about {road.about}.")
    console.print(f"Look at {results}: {road.pictures}", markup=False)
    return scores


@dataclass(frozen=True)
class _Road:
    """What a demonstration draws, runs and says."""

    layout: str
    photos: tuple[int, int, int]
    size: tuple[int, int]
    training: str
    """The id that trains."""
    weights: str
    """Below the folder of the training."""
    score: str
    scored: str = "held-out phantoms"
    predicted: str = "held-out phantoms"
    about: str = "eyes"
    pictures: str = "<photo>/overlay.jpg, lesions.csv, photos.csv"
    overrides: Mapping[str, str] = field(default_factory=dict)


def _road(bundle: Bundle) -> _Road:
    if set(bundle.classes) <= set(OCTA_LESIONS):
        return _Road(
            layout="drac",
            photos=OCTA_PHOTOS,
            size=OCTA_SIZE,
            training="training_all",
            weights=".",
            score="Dice (DRAC2022)",
            scored="held-out phantoms, which also chose the best epoch",
            predicted="test phantoms, which have no masks, as the challenge's,",
        )
    if set(CONIC_CLASSES) <= set(bundle.classes):
        return _Road(
            layout="monusac",  # its tiles are files, which can be predicted
            photos=TILES,
            size=TILE_SIZE,
            training="training",
            weights=".",
            score="IoU, combined",
            about="tissue",
            pictures="<tile>/overlay.jpg, nuclei.csv, tiles.csv",
            overrides={"layout": "monusac"},
        )
    return _Road("idrid", PHOTOS, SIZE, training="run", weights="model.pt", score="average precision (exact)")


def _draw_and_pseudo_label(bundle: Bundle, data: Path, run: Path, console: Console) -> Path:
    """Draw a set with masks and a set with grades, write what each lacks, and return the datalist of both."""
    folders = {"segmentation": PHOTOS, "grading": GRADED_PHOTOS}
    total = sum(map(sum, folders.values()))
    console.print(f"[b]1. {total} phantoms[/b] of {SIZE[1]}×{SIZE[0]} px in {escape(str(data))}, with masks or grades")
    for name, photos in folders.items():
        if not (data / name).exists():
            write_phantoms(data / name, "idrid", photos, SIZE, seed=0, grading=name == "grading")
    labelled = data / "pseudo_labels"
    if not (labelled / "joint.json").is_file():
        console.print("[b]   Pseudo-labels[/b]: a network for each task writes what the other set lacks")
        overrides = {
            "grading_dir": data / "grading",
            "segmentation_dir": data / "segmentation",
            "pseudo_dir": labelled,
            "ckpt_dir": run / "single_task",
            "output_dir": run / "single_task",
        }
        run_workflow(build_workflow(bundle, ["train", "cpu", "pseudo_label"], overrides, "train"))
    return labelled / "joint.json"


def _refuse_other_bundle(config: Path, bundle: Bundle, output_dir: Path) -> None:
    """Keep one bundle's network from being taken for another's."""
    if not config.is_file():
        return
    trained = Path(json.loads(config.read_text(encoding="utf-8"))["bundle_root"]).name
    if trained != bundle.name:
        raise InputError(f"{output_dir} holds the demonstration of {trained}: name another folder with --out.")
