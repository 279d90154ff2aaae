"""Load tiles of tissue and the nuclei marked in them, from files of one tile or of many."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from tinylesions.datasets import checked_class_names, read_nuclei, read_tile
from tinylesions.transforms.load import meta_tensor

__all__ = ["LoadNucleid", "LoadTiled"]


class LoadTiled(MapTransform):
    """Load tiles as (3, H, W) uint8 ``MetaTensor``, red, green and blue.

    Args:
        keys: keys of the tiles' paths: a photo's file, or CoNIC's ``images.npy`` of many tiles.
        index_key: key of the tile's number in a ``.npy`` file; not looked at for other files, where it may be absent.
        allow_missing_keys: do not raise where a key is missing.

    Raises:
        InputError: the file is missing, no photo, damaged, or has no tile of that number.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "images.npy"
        ...     np.save(path, np.zeros((4, 32, 24, 3), dtype=np.uint8))
        ...     tile = LoadTiled("image")({"image": path, "index": 2})["image"]
        >>> tile.shape, tile.meta["filename_or_obj"].endswith("images.npy#2")
        (torch.Size([3, 32, 24]), True)
    """

    def __init__(self, keys: KeysCollection, index_key: str = "index", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.index_key = index_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with each path replaced by its tile."""
        items = dict(data)
        for key in self.key_iterator(items):
            path = str(items[key])
            index = items.get(self.index_key) if path.endswith(".npy") else None
            tile = read_tile(path, index)
            # a name of its own for each tile of a file: what is saved or scored by name must not mix them
            name = path if index is None else f"{path}#{index}"
            items[key] = meta_tensor(tile.transpose(2, 0, 1), name)
        return items


class LoadNucleid(MapTransform):
    """Load the nuclei of a tile as a class map (1, H, W) uint8 ``MetaTensor`` to train on and to score with.

    Args:
        keys: key of the path of the labels: CoNIC's ``labels.npy`` of many tiles, or an ``.xml`` of outlines.
        class_names: the K classes, the background first; they are numbered in this order.
        nuclei_key: where to put each nucleus by itself, (2, H, W) int32 ``MetaTensor``: its number from 1 on and its
            class, both 0 in the background. None leaves it out.
        photo_key: key of the loaded tile, whose height and width the labels must have.
        index_key: key of the tile's number in a ``.npy`` file.
        allow_missing_keys: do not raise where the key is missing.

    Raises:
        InputError: the labels are missing, unreadable, of another size, or of other classes; or names of classes that
            `checked_class_names` refuses.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        class_names: Sequence[str] = (),
        nuclei_key: str | None = None,
        photo_key: str = "image",
        index_key: str = "index",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.class_names = tuple(checked_class_names(class_names))
        self.nuclei_key = nuclei_key
        self.photo_key = photo_key
        self.index_key = index_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the path replaced by the class map."""
        items = dict(data)
        photo = items[self.photo_key]
        name = photo.meta["filename_or_obj"]
        for key in self.key_iterator(items):
            path = str(items[key])
            index = items.get(self.index_key) if path.endswith(".npy") else None
            nuclei = read_nuclei(path, self.class_names, tuple(photo.shape[1:]), index).transpose(2, 0, 1)
            items[key] = meta_tensor(nuclei[1:].astype("uint8"), name)
            if self.nuclei_key is not None:
                items[self.nuclei_key] = meta_tensor(nuclei, name)
        return items
