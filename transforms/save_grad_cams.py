"""Draws what each layer of a network looks at, task by task: the grading paper's figure 8."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy, convert_to_tensor

from tinylesions.datasets.atomic import atomic_path
from tinylesions.transforms.heat import HEAT_TICKS, heat_over, overlay_heat
from tinylesions.transforms.names import output_name
from tinylesions.transforms.panels import Scale, draw_panels, reduced_photo

__all__ = ["SaveGradCamsd"]

_CAPTION = "Grad-CAM, relative to the layer's strongest"


class SaveGradCamsd(MapTransform):
    """Write ``<output_dir>/<id>.png``: a row for each task, with the photo and the map of each layer over it.

    The panels have the network's own size. Grading and segmentation paper (003), figure 8.

    Args:
        keys: keys of the maps (1, H, W) float, 0 to 1, task after task and in each from the first layer to the last,
            e.g. ``pred_grade_layer_1`` to ``pred_grade_layer_5``, then ``pred_segmentation_layer_1`` to
            ``pred_segmentation_layer_5``.
        output_dir: folder of the pictures.
        rows: names of the tasks; each has as many layers.
        id_key: key of the photo's name, which names its picture.
        photo_key: key of the network's input (3, H, W), a ``MetaTensor`` that knows its file, which is drawn.

    Raises:
        InputError: the id cannot name a file, or the picture cannot be written.
        ValueError: the keys are not a row of layers for each task, or a map has another shape than the photo.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        rows: Sequence[str] = ("Cls", "Seg"),
        id_key: str = "id",
        photo_key: str = "image",
    ) -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir)
        self.rows = tuple(rows)
        if not self.rows or len(self.keys) % len(self.rows):
            raise ValueError(f"{len(self.keys)} maps are no rows of one length for the tasks {list(self.rows)}")
        self.id_key = id_key
        self.photo_key = photo_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the picture and return the data as it is."""
        items = dict(data)
        path = self.output_dir / f"{output_name(items[self.id_key])}.png"
        photo = reduced_photo(items[self.photo_key])
        maps = [_map(items[key], photo.shape[:2], key) for key in self.key_iterator(items)]
        layers = len(maps) // len(self.rows)
        rows: list[list[tuple[str, np.ndarray | None]]] = []
        for row, task in enumerate(self.rows):
            own = maps[row * layers : (row + 1) * layers]
            panels = [(f"{task} · layer {layer}", overlay_heat(photo, map_)) for layer, map_ in enumerate(own, start=1)]
            rows.append([(f"{task} · photo", photo), *panels])
        picture = draw_panels(rows, Scale(_CAPTION, heat_over(photo), HEAT_TICKS))
        with atomic_path(path) as temporary:
            picture.save(temporary)
        return items


def _map(image: Any, size: tuple[int, ...], key: Hashable) -> np.ndarray:
    plain = np.asarray(convert_to_numpy(convert_to_tensor(image, track_meta=False).float()))
    if plain.shape != (1, *size):
        raise ValueError(f"{key} has to be {(1, *size)}, got {plain.shape}")
    return plain[0]
