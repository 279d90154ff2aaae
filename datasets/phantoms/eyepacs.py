"""Write phantoms in EyePACS's folders, as Kaggle gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tinylesions.datasets.phantoms.idrid import JPEG_QUALITY, grading_grade, photo_seed
from tinylesions.datasets.phantoms.photo import FULL_SIZE, draw_fundus

__all__ = ["write_eyepacs"]

FIRST_PATIENT = 10  # as in Kaggle's training set
OTHER_EYE = (0, 1, -1)  # how much worse than the left eye the right one is, patient after patient


def write_eyepacs(
    root: str | Path,
    train: int,
    test: int,
    size: tuple[int, int] = FULL_SIZE,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> Path:
    """Write `train` and `test` with both eyes of each patient, `trainLabels.csv` and `retinopathy_solution.csv`.

    Grades of left eyes go round 0..4; the right eye's is the same or a neighbour.

    Args:
        root: folder that gets them; made if missing.
        train: number of photos; where it is odd, the last patient has a left eye only. None: no folder and table.
        test: likewise; their patients are numbered on.
        size: (height, width) of the photos.
        seed: the same seed and size give the same photos.
        progress: called after each photo.

    Returns:
        ``root``.
    """
    first = FIRST_PATIENT
    for split, table, count in (("train", "trainLabels.csv", train), ("test", "retinopathy_solution.csv", test)):
        if not count:
            continue
        photos = Path(root, split)
        photos.mkdir(parents=True, exist_ok=True)
        rows = ["image,level"] if split == "train" else ["image,level,Usage"]
        for index in range(count):
            patient, right = divmod(index, 2)
            name = f"{first + patient}_{'right' if right else 'left'}"
            phantom = draw_fundus(photo_seed(seed, f"eyepacs {split}", index), size, _grade(patient, bool(right)))
            Image.fromarray(phantom.photo).save(photos / f"{name}.jpeg", quality=JPEG_QUALITY)
            usage = (",Private", ",Public")[patient % 2] if split == "test" else ""
            rows.append(f"{name},{phantom.grade}{usage}")
            if progress is not None:
                progress()
        Path(root, table).write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")
        first += (count + 1) // 2
    return Path(root)


def _grade(patient: int, right: bool) -> int:
    left = grading_grade(patient)
    return min(max(left + OTHER_EYE[patient % 3], 0), 4) if right else left
