"""Checks a datalist of nuclei before training: every tile and label is decoded, every problem named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .nuclei import checked_class_names
from .nuclei_labels import read_nuclei, read_tile, tile_size

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NucleiReport", "NucleiRow", "iter_check_nuclei"]


@dataclass(frozen=True)
class NucleiRow:
    """What was found of one tile.

    Args:
        id: the tile's id.
        split: "training", "validation" or "test".
        source: the image or patient that it was cut from.
        height: of the tile in pixels; 0 where its header cannot be read.
        width: likewise.
        pixels: class -> number of its pixels, the background too; 0 for all where the label is refused.
        nuclei: class -> number of its nuclei, without the background; a nucleus counts for every class it has.
        problem: what must be repaired, a sentence for each file; "" where all is well.
    """

    id: str
    split: str
    source: str
    height: int
    width: int
    pixels: Mapping[str, int]
    nuclei: Mapping[str, int]
    problem: str = ""


@dataclass(frozen=True)
class NucleiReport:
    """The rows of a check, in the order of the datalist."""

    rows: tuple[NucleiRow, ...]

    @property
    def problems(self) -> dict[str, str]:
        """Id -> problem, of the tiles that have one."""
        return {row.id: row.problem for row in self.rows if row.problem}

    @property
    def splits(self) -> dict[str, NucleiReport]:
        """The reports of the splits that there are."""
        names = dict.fromkeys(row.split for row in self.rows)
        return {name: NucleiReport(tuple(row for row in self.rows if row.split == name)) for name in names}

    @property
    def sources(self) -> int:
        """How many images or patients the tiles were cut from."""
        return len({row.source for row in self.rows})

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The different (height, width) of the tiles, the one of fewest pixels first."""
        sizes = {(row.height, row.width) for row in self.rows if row.height}
        return sorted(sizes, key=lambda size: (size[0] * size[1], size))

    @property
    def pixels(self) -> Counter[str]:
        """Class -> number of its pixels in all tiles."""
        return _sum(row.pixels for row in self.rows)

    @property
    def absent(self) -> list[str]:
        """The classes without a pixel in any tile; none where no label could be read at all."""
        pixels = self.pixels
        return [name for name, count in pixels.items() if not count] if any(pixels.values()) else []

    @property
    def nuclei(self) -> Counter[str]:
        """Class -> number of its nuclei in all tiles."""
        return _sum(row.nuclei for row in self.rows)

    def to_frame(self) -> pd.DataFrame:
        """Return a frame of one row a tile: id, split, source, height, width, nuclei and pixels by class, problem."""
        import pandas as pd

        return pd.DataFrame(
            {
                "id": row.id,
                "split": row.split,
                "source": row.source,
                "height": row.height,
                "width": row.width,
                **{f"{name} nuclei": count for name, count in row.nuclei.items()},
                **{f"{name} pixels": count for name, count in row.pixels.items()},
                "problem": row.problem,
            }
            for row in self.rows
        )


def iter_check_nuclei(items: Iterable[Mapping[str, Any]], class_names: Sequence[str]) -> Iterator[NucleiRow]:
    """Decode every tile and label and yield its row as soon as it is checked; nothing is raised for a bad file.

    Args:
        items: a datalist, as the reader of a layout of nuclei gives it.
        class_names: the K classes, the background first.

    Raises:
        InputError: names that `checked_class_names` refuses.
    """
    names = checked_class_names(class_names)
    return (_check_item(item, names) for item in items)


def _check_item(item: Mapping[str, Any], class_names: Sequence[str]) -> NucleiRow:
    problems = []
    size = (0, 0)
    pixels, nuclei = dict.fromkeys(class_names, 0), dict.fromkeys(class_names[1:], 0)
    try:
        size = tile_size(item["image"])
        read_tile(item["image"], item.get("index"))  # only decoding shows a truncated file
    except InputError as error:
        problems.append(str(error))
    if all(size):
        try:
            found = read_nuclei(item["label"], class_names, size, item.get("index"))
        except InputError as error:
            problems.append(str(error))
        else:
            pixels = _by_class(found[..., 1].ravel(), class_names)
            pairs = np.unique(found[..., 0].astype(np.int64) * len(class_names) + found[..., 1])  # each pair once
            each = _by_class(pairs % len(class_names), class_names)
            nuclei = {name: each[name] for name in nuclei}
    return NucleiRow(item["id"], item["split"], item["source"], *size, pixels, nuclei, ". ".join(problems))


def _by_class(numbers: np.ndarray, class_names: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(numbers, minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total
