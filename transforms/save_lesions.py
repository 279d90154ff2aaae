"""Writes what is predicted for a photo: probability maps, label map, overlay, lesion table and summary."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy, convert_to_tensor
from PIL import Image

from tinylesions.datasets.atomic import atomic_folder
from tinylesions.datasets.lesions import CLASSES, LESIONS
from tinylesions.datasets.photos import read_photo
from tinylesions.transforms.grade_evidence import draw_grade_evidence
from tinylesions.transforms.lesion_table import lesion_components, photo_summary, write_table
from tinylesions.transforms.names import checked_lesions, output_name
from tinylesions.transforms.overlay import PALETTE, draw_overlay
from tinylesions.transforms.predicted_lesions import label_map_of_sigmoid, label_map_of_softmax

__all__ = ["SaveLesionsd"]

_LABEL_COLOURS = {"other": (64, 64, 64), **PALETTE, "black_background": (0, 0, 0)}
_PNG_LEVEL = 1  # five times faster than Pillow's default 6, the files are a tenth larger
_JPEG_QUALITY = 92  # a photo is a JPEG already; a PNG of the overlay is four times as large


class SaveLesionsd(MapTransform):
    """Write the folder ``<output_dir>/<id>`` of one photo.

    ========================  =========================================================================
    ``<lesion>.png``          probability of each lesion looked for, 16 bits: ``round(65535 * p)``
    ``label_map.png``         one class a pixel, 8-bit palette; ``black_background`` outside of the retina
    ``overlay.jpg``           :func:`~tinylesions.transforms.overlay.draw_overlay`
    ``lesions.csv``           :func:`~tinylesions.transforms.lesion_table.lesion_components` after a column ``photo``
    ``summary.json``          file, size, counts and areas; ``seconds``, ``windows``, facts where the data has them
    ``grade_evidence.jpg``    :func:`~tinylesions.transforms.grade_evidence.draw_grade_evidence`, where the data has it
    ========================  =========================================================================

    The folder is complete from the moment it has its name; an older one is replaced.

    Args:
        keys: key of the probabilities, (6, H, W) or, with `classes` or `lesions`, (K, H, W) float, at the size of the
            photo's file, on any device.
        output_dir: folder of the photos' folders.
        id_key: key of the photo's name, which names its folder.
        photo_key: key of the path of the photo's file; the overlay is drawn into its original pixels.
        field_of_view_key: key of the (1, H, W) mask of the field of view, above 0 inside.
        allow_missing_keys: do not raise where the prediction is missing.
        lesions: None where the probabilities are a softmax over :data:`~tinylesions.datasets.lesions.CLASSES`: the
            label map has the most probable one. Else the names of the K lesions that the network looks for, each with
            a sigmoid of its own: the label map has the most probable lesion where one reaches 0.5, and nothing that
            is written speaks of other lesions.
        classes: of the softmax, ``CLASSES`` or ``CLASSES[:5]``: a network without ``black_background``, which the
            label map still has outside of the retina.
        facts_key: key of what else is known of the photo, a mapping of plain values, e.g. of
            :class:`~tinylesions.transforms.grade_photo.GradePhotod`; added to ``summary.json``. May be absent.
        evidence_key: key of the evidence for the photo's grade, (1, H, W) float, 0 to 1, at the size of the photo's
            file; drawn with the grade, which the facts have to hold. May be absent.

    Raises:
        InputError: the id cannot name a folder, the photo cannot be read, or the folder cannot be written.
        ValueError: the prediction has another number of channels, or another size than the photo, `lesions` names an
            unknown lesion, or `classes` are others.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        id_key: str = "id",
        photo_key: str = "photo",
        field_of_view_key: str = "field_of_view",
        allow_missing_keys: bool = False,
        lesions: Sequence[str] | None = None,
        classes: Sequence[str] = CLASSES,
        facts_key: str = "facts",
        evidence_key: str = "pred_grade_evidence",
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.id_key = id_key
        self.photo_key = photo_key
        self.field_of_view_key = field_of_view_key
        self.lesions = None if lesions is None else checked_lesions(lesions)
        self.classes = tuple(classes)
        if self.classes not in (CLASSES, CLASSES[:5]):
            raise ValueError(f"classes are {list(CLASSES)}, the last perhaps left out, got {list(classes)}")
        self.facts_key = facts_key
        self.evidence_key = evidence_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the folder and return the data with its path as ``output``."""
        items = dict(data)
        for key in self.key_iterator(items):
            name = output_name(items[self.id_key])
            file = items[self.photo_key]
            photo = read_photo(file)
            probabilities = convert_to_tensor(items[key], track_meta=False)
            field_of_view = convert_to_numpy(items[self.field_of_view_key])[0] > 0
            wanted = (len(self.lesions or self.classes), *photo.shape[:2])
            if tuple(probabilities.shape) != wanted or field_of_view.shape != wanted[1:]:
                raise ValueError(
                    f"{file}: the prediction has to be {wanted} and the field of view {wanted[1:]}, got"
                    f" {tuple(probabilities.shape)} and {field_of_view.shape}"
                )
            facts = {"photo": name, "file": str(file), "height": wanted[1], "width": wanted[2]}
            if "seconds" in items:
                facts["seconds"] = float(items["seconds"])
            facts |= {name: int(items[name]) for name in ("windows", "windows_skipped") if name in items}
            facts |= items.get(self.facts_key, {})
            evidence = None
            if self.evidence_key in items:
                map_ = convert_to_tensor(items[self.evidence_key], track_meta=False)
                evidence = draw_grade_evidence(photo, convert_to_numpy(map_.float())[0], facts)
            predicted = (
                label_map_of_sigmoid(probabilities, self.lesions)
                if self.lesions
                else label_map_of_softmax(probabilities, self.classes)
            )
            with atomic_folder(self.output_dir / name) as folder:
                _write_folder(folder, facts, photo, predicted, field_of_view, self.lesions or LESIONS)
                if evidence is not None:
                    _write_jpeg(evidence, folder / "grade_evidence.jpg")
            items["output"] = str(self.output_dir / name)
        return items


def _write_folder(
    folder: Path,
    facts: dict[str, Any],
    photo: np.ndarray,
    predicted: tuple[torch.Tensor, torch.Tensor],
    field_of_view: np.ndarray,
    lesions: Sequence[str],
) -> None:
    label_map, channels = convert_to_numpy(predicted[0]), convert_to_numpy(predicted[1].float())
    label_map[~field_of_view] = CLASSES.index("black_background")
    for lesion, probability in zip(lesions, channels, strict=True):
        sixteen_bits = np.rint(np.clip(probability, 0, 1) * np.float32(65535)).astype(np.uint16)
        Image.fromarray(sixteen_bits).save(folder / f"{lesion}.png", compress_level=_PNG_LEVEL)
    image = Image.fromarray(label_map)
    colours = bytes(value for name in CLASSES for value in _LABEL_COLOURS[name])
    image.putpalette(colours.ljust(3 * 256, b"\0"))  # with a short palette Pillow packs two pixels into a byte
    image.save(folder / "label_map.png", compress_level=_PNG_LEVEL)
    table = lesion_components(label_map, channels, lesions)
    summary = photo_summary(table, int(field_of_view.sum()), lesions)
    counts = {lesion: summary[f"{lesion}_count"] for lesion in lesions}
    _write_jpeg(draw_overlay(photo, label_map, field_of_view, counts), folder / "overlay.jpg")
    table.insert(0, "photo", facts["photo"])
    write_table(table, folder / "lesions.csv")
    text = json.dumps(facts | summary, indent=2, ensure_ascii=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")


def _write_jpeg(picture: np.ndarray, path: Path) -> None:
    # by way of memory: Pillow's JPEG encoder does not tell why a file could not be written
    encoded = BytesIO()
    Image.fromarray(picture).save(encoded, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    path.write_bytes(encoded.getvalue())
