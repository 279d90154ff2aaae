"""Draws what each scale of a network sees, lesion by lesion: the panels of Red-Seg's figure 7."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy, convert_to_tensor

from tinylesions.datasets.atomic import atomic_path
from tinylesions.transforms.names import checked_lesions, output_name
from tinylesions.transforms.panels import Scale, draw_panels, reduced_photo

__all__ = ["SaveSideOutputsd"]

_TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)
_SCALE = Scale(
    "probability, square-root grey scale",
    np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1),
    {probability**0.5: f"{probability:g}" for probability in _TICKS},
)


class SaveSideOutputsd(MapTransform):
    """Write ``<output_dir>/<id>.png``: a row of panels for each lesion, at the network's own size.

    From left to right the photo, the truth where the data has it, a side output for each group that any branch has
    (plain where this lesion's has none) and the fused output. Probabilities are drawn as the grey level √p, since
    deep side outputs are faint; a scale below says so.

    Red-Seg paper (000), figure 7.

    Args:
        keys: key of the probabilities, (heads · K, H, W), as ``RedSeg(head="all")`` orders them: head after head, each
            with K lesions, shorter branches beginning with heads that are not used.
        output_dir: folder of the pictures.
        lesions: names of the K lesions.
        branches: for each lesion the groups that its branch fuses, as the network got them.
        id_key: key of the photo's name, which names its picture.
        photo_key: key of the network's input (3, H, W), a ``MetaTensor`` that knows its file, which is drawn.
        label_key: key of the truth (K, H, W), above 0 is lesion; may be absent.
        allow_missing_keys: do not raise where the prediction is missing.

    Raises:
        InputError: the id cannot name a file, or the picture cannot be written.
        ValueError: the branches are not K, or the prediction, photo or truth has another shape.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        lesions: Sequence[str],
        branches: Sequence[Sequence[int]],
        id_key: str = "id",
        photo_key: str = "image",
        label_key: str = "label",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.lesions = checked_lesions(lesions)
        self.branches = [list(groups) for groups in branches]
        if len(self.branches) != len(self.lesions):
            raise ValueError(f"{len(self.lesions)} lesions have as many branches, got {len(self.branches)}")
        self.id_key = id_key
        self.photo_key = photo_key
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the picture and return the data as it is."""
        items = dict(data)
        for key in self.key_iterator(items):
            path = self.output_dir / f"{output_name(items[self.id_key])}.png"
            probabilities = _numpy(items[key])
            photo = reduced_photo(items[self.photo_key])
            truth = _numpy(items[self.label_key]) if self.label_key in items else None
            self._check(probabilities, photo, truth)
            picture = draw_panels(self._rows(probabilities, photo, truth), _SCALE)
            with atomic_path(path) as temporary:
                picture.save(temporary)
        return items

    def _check(self, probabilities: np.ndarray, photo: np.ndarray, truth: np.ndarray | None) -> None:
        heads, size = max(map(len, self.branches)) + 1, photo.shape[:2]
        wanted = {"prediction": (heads * len(self.lesions), *size)}
        found = {"prediction": probabilities.shape}
        if truth is not None:
            wanted["truth"], found["truth"] = (len(self.lesions), *size), truth.shape
        if found != wanted:
            raise ValueError(f"the shapes have to be {wanted}, got {found}")

    def _rows(
        self, probabilities: np.ndarray, photo: np.ndarray, truth: np.ndarray | None
    ) -> list[list[tuple[str, np.ndarray | None]]]:
        """Titles and panels, (H, W, 3) or (H, W) uint8, of each lesion; None is a group that its branch lacks."""
        heads = probabilities.reshape(-1, len(self.lesions), *photo.shape[:2])
        rows = []
        for index, (lesion, groups) in enumerate(zip(self.lesions, self.branches, strict=True)):
            panels: dict[str, np.ndarray | None] = {"photo": photo}
            if truth is not None:
                panels["truth"] = (truth[index] > 0).astype(np.uint8) * 255
            panels |= {f"conv{group}": None for group in sorted(set().union(*self.branches))}
            own = heads[len(heads) - len(groups) - 1 :, index]
            for name, head in zip([*(f"conv{group}" for group in groups), "fused"], own, strict=True):
                panels[name] = np.rint(255 * np.sqrt(head.clip(0, 1))).astype(np.uint8)
            rows.append([(f"{lesion.replace('_', ' ')} · {name}", panel) for name, panel in panels.items()])
        return rows


def _numpy(image: Any) -> np.ndarray:
    return np.asarray(convert_to_numpy(convert_to_tensor(image, track_meta=False).float()))
