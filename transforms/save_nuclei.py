"""Writes what is predicted for a tile: class maps, overlay, table of nuclei and summary."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy
from PIL import Image

from tinylesions.datasets import BINARY_CLASSES, MODELS, checked_class_names, read_tile
from tinylesions.datasets.atomic import atomic_folder
from tinylesions.transforms.background_reuse import checked_models, nuclei_results
from tinylesions.transforms.lesion_images import write_jpeg, write_probability
from tinylesions.transforms.lesion_table import write_table
from tinylesions.transforms.names import output_name
from tinylesions.transforms.nuclei_colours import nuclei_colours
from tinylesions.transforms.nuclei_instances import nuclei_instances
from tinylesions.transforms.nuclei_overlay import draw_nuclei
from tinylesions.transforms.nuclei_table import nuclei_table, removed_by_reuse, tile_summary

__all__ = ["SaveNucleid"]


class SaveNucleid(MapTransform):
    """Write the folder ``<output_dir>/<id>`` of one tile.

    ====================  =============================================================================
    ``multi_class.png``   class of each pixel by the multi-class network, 8-bit palette
    ``binary.png``        1 where the binary network sees a nucleus, else 0, 8-bit palette
    ``combined.png``      the classes with the background of both networks (paper 004, equation 3.4)
    ``foreground.png``    the binary network's probability of a nucleus, 16 bits: ``round(65535 * p)``
    ``overlay.jpg``       :func:`~tinylesions.transforms.nuclei_overlay.draw_nuclei`
    ``nuclei.csv``        :func:`~tinylesions.transforms.nuclei_table.nuclei_table` after a column ``tile``
    ``summary.json``      file, size, counts and areas; ``seconds`` and ``windows`` where the data has them
    ====================  =============================================================================

    Without one of the networks there is only the map of the other. Overlay, table and counts are of the final result,
    ``combined`` if there is one; ``summary.json`` says which as ``result``, and what the reuse of the background
    removed (:func:`~tinylesions.transforms.nuclei_table.removed_by_reuse`). The folder is complete from the moment it
    has its name; an older one is replaced.

    Args:
        keys: key of the probabilities, (C, H, W) float as
            :class:`~tinylesions.transforms.background_reuse.NucleiProbabilitiesd` gives them, at the size of the tile,
            on any device. Beside it lie the class maps of
            :class:`~tinylesions.transforms.background_reuse.NucleiClassMapsd` under their own names.
        output_dir: folder of the tiles' folders.
        class_names: the K classes of the multi-class network, the background first.
        models: the networks, some of :data:`~tinylesions.datasets.MODELS` in that order.
        minimum_area: connected pieces of fewer pixels are no nuclei; the class maps keep them.
        id_key: key of the tile's name, which names its folder.
        photo_key: key of the path of the tile's file; the overlay is drawn into its original pixels.
        index_key: key of the tile's number where that is a ``.npy`` file of many; else it may be absent.
        allow_missing_keys: do not raise where the prediction is missing.

    Raises:
        InputError: there is no such model, the names of classes are refused (`checked_class_names`), the id cannot name
            a folder, the tile cannot be read, or the folder cannot be written.
        ValueError: the prediction has another number of channels, or another size than the tile, or the models are
            in another order.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        class_names: Sequence[str],
        models: Iterable[str] = MODELS,
        minimum_area: int = 10,
        id_key: str = "id",
        photo_key: str = "photo",
        index_key: str = "index",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.class_names = tuple(checked_class_names(class_names))
        self.models = checked_models(models)
        self.results = nuclei_results(self.models)
        self.minimum_area = minimum_area
        self.id_key = id_key
        self.photo_key = photo_key
        self.index_key = index_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the folder and return the data with its path as ``output``."""
        items = dict(data)
        for key in self.key_iterator(items):
            name = output_name(items[self.id_key])
            file = str(items[self.photo_key])
            index = items.get(self.index_key) if file.endswith(".npy") else None
            tile = read_tile(file, index)
            wanted = (self._channels, *tile.shape[:2])
            if tuple(items[key].shape) != wanted:
                raise ValueError(f"{file}: the prediction has to be {wanted}, got {tuple(items[key].shape)}")
            maps = {result: convert_to_numpy(items[result])[0] for result in self.results}
            facts = {"tile": name, "file": file, "height": wanted[1], "width": wanted[2], "result": self.results[-1]}
            if index is not None:
                facts["index"] = int(index)
            if "seconds" in items:
                facts["seconds"] = float(items["seconds"])
            if "windows" in items:
                facts["windows"] = int(items["windows"])
            with atomic_folder(self.output_dir / name) as folder:
                self._write(folder, facts, tile, items[key], maps)
            items["output"] = str(self.output_dir / name)
        return items

    @property
    def _channels(self) -> int:
        return len(self.class_names) * ("multi_class" in self.models) + ("binary" in self.models)

    def _write(
        self,
        folder: Path,
        facts: dict[str, Any],
        tile: np.ndarray,
        prediction: torch.Tensor,
        maps: Mapping[str, np.ndarray],
    ) -> None:
        probabilities = convert_to_numpy(prediction.float())
        for result, class_map in maps.items():
            _write_class_map(
                class_map, BINARY_CLASSES if result == "binary" else self.class_names, folder / f"{result}.png"
            )
        if "binary" in maps:
            write_probability(probabilities[-1], folder / "foreground.png")
        names: tuple[str, ...] = self.class_names
        if "multi_class" not in maps:
            names, probabilities = BINARY_CLASSES, np.concatenate([1 - probabilities, probabilities])
        final = maps[facts["result"]]
        nuclei = nuclei_instances(final, self.minimum_area)
        table = nuclei_table(nuclei, probabilities[: len(names)], names)
        summary = tile_summary(table, final, names)
        if "combined" in maps:
            summary |= removed_by_reuse(maps["multi_class"], final, self.minimum_area)
        counts = {name: summary[f"{name}_count"] for name in names[1:]}
        write_jpeg(draw_nuclei(tile, nuclei, names, counts, _title(facts["result"])), folder / "overlay.jpg")
        table.insert(0, "tile", facts["tile"])
        write_table(table, folder / "nuclei.csv")
        text = json.dumps(facts | summary, indent=2, ensure_ascii=False)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")


def _title(result: str) -> str:
    return result.replace("_", "-") + " result"


def _write_class_map(class_map: np.ndarray, class_names: Sequence[str], path: Path) -> None:
    """Write the numbers of classes (H, W) uint8 as a PNG of 8 bits with a palette."""
    image = Image.fromarray(class_map)
    colours = bytes(value for colour in nuclei_colours(class_names) for value in colour)
    image.putpalette(colours.ljust(3 * 256, b"\0"))  # with a short palette Pillow packs several pixels into a byte
    image.save(path, compress_level=1)
