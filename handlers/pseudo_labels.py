"""Labels that networks write for photos which lack them: the two ends of the road, and the grades on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pandas as pd
from ignite.engine import Engine, Events
from tqdm import tqdm

from tinylesions.datasets import (
    find_twins,
    leaving_out_twins,
    read_pseudo_grades,
    read_pseudo_masks,
    sharing_labels,
    write_labelled_datalists,
    write_pseudo_grades,
)
from tinylesions.datasets.atomic import atomic_path

__all__ = ["PseudoGrades", "without_twins", "write_pseudo_labelled"]

Items = Sequence[dict[str, Any]]


def without_twins(grading: Items, segmentation: Items, report: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Leave out what one data set trains or validates on and the other validates or tests on under another name.

    A photo that trains in both gets the true labels of both.

    Args:
        grading: graded photos.
        segmentation: photos with lesion masks.
        report: CSV that names every photo that is in both, and whether it was left out.

    Returns:
        ``grading`` and ``segmentation``, the photos that are left.
    """
    with tqdm(total=len(grading) + len(segmentation), desc="looking for photos of both", unit="photo") as bar:
        twins = find_twins(grading, segmentation, bar.update)
    graded, masked, left_out = leaving_out_twins(grading, segmentation, twins)
    graded, masked = sharing_labels(graded, masked, twins)
    gone = {item["image"] for item in left_out}
    columns = ["grading", "grading_split", "segmentation", "segmentation_split", "left_out"]
    rows = [(twin.ids[0], twin.splits[0], twin.ids[1], twin.splits[1], bool(gone & set(twin.images))) for twin in twins]
    with atomic_path(report) as temporary:
        pd.DataFrame(rows, columns=columns).to_csv(temporary, index=False)
    print(
        f"{len(twins)} photos are in both data sets ({report}); {len(left_out)} of them would be trained or validated"
        " on in one and validated or tested on in the other, and are left out there"
    )
    return {"grading": graded, "segmentation": masked}


class PseudoGrades:
    """Write the most probable grade of every photo of an evaluation as IDRiD's table of grades.

    Args:
        root: folder that gets ``B. Disease Grading``.
        pred_key: key of the grade's logits or probabilities (5,) in the engine's output.
        id_key: key of the photo's id there.
    """

    def __init__(self, root: str | Path, pred_key: str = "pred_grade", id_key: str = "photo_id") -> None:
        self.root = Path(root)
        self.pred_key = pred_key
        self.id_key = id_key
        self.grades: dict[str, int] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self, engine: Engine) -> None:
        """Forget an earlier evaluation."""
        self.grades = {}

    def __call__(self, engine: Engine) -> None:
        """Add an iteration's photos."""
        photos: list[dict[str, Any]] = engine.state.output  # type: ignore[assignment]
        self.grades |= {photo[self.id_key]: int(photo[self.pred_key].argmax()) for photo in photos}

    def write(self, engine: Engine) -> None:
        """Write the table."""
        if idist.get_rank() == 0:
            write_pseudo_grades(self.root, self.grades)


def write_pseudo_labelled(root: str | Path, grading: Items, segmentation: Items) -> dict[str, Path]:
    """Write the datalists of both data sets, and of both together, with what networks labelled below `root`.

    Photos to train on get what they lack, marked as ``pseudo``: masks read below `root`, none for grade 0 (grading and
    segmentation paper (003), section 4.1.3), and grades from the table below `root`. Photos to validate and test on
    keep their own labels only, so that no score is computed on what a network said.

    Args:
        root: where the pseudo-labels lie and the datalists go.
        grading: graded photos.
        segmentation: photos with lesion masks.

    Returns:
        ``grading``, ``segmentation`` and ``joint`` → JSON datalist.

    Raises:
        InputError: a photo to train on has no grade in the table.
    """
    without = [item["id"] for item in segmentation if _lacks(item, "grade")]
    grades = read_pseudo_grades(root, without) if without else {}
    graded = [
        {**item, "label": read_pseudo_masks(root, item["id"]) if item["grade"] else {}, "pseudo": ["label"]}
        if _lacks(item, "label")
        else item
        for item in grading
    ]
    masked = [
        {**item, "grade": grades[item["id"]], "pseudo": ["grade"]} if _lacks(item, "grade") else item
        for item in segmentation
    ]
    paths = write_labelled_datalists(root, graded, masked)
    counts = pd.Series(grades).value_counts().sort_index()
    drawn = sum(bool(item["label"]) for item in graded if "label" in item.get("pseudo", []))
    listed = ", ".join(f"{count} of grade {grade}" for grade, count in counts.items())
    print(f"pseudo-grades: {listed}; pseudo-masks: {drawn} photos with lesions, the others without")
    print(f"train on {paths['grading']}, {paths['segmentation']} or, with both, {paths['joint']}")
    return paths


def _lacks(item: dict[str, Any], key: str) -> bool:
    return item["split"] == "training" and key not in item
