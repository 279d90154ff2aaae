"""Writes what is predicted for a photo: probabilities, label map or masks, overlay, lesion table and summary."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy, convert_to_tensor

from tinylesions.datasets.atomic import atomic_folder
from tinylesions.datasets.lesions import CLASSES, LESIONS
from tinylesions.datasets.photos import read_photo
from tinylesions.transforms.grade_evidence import draw_grade_evidence
from tinylesions.transforms.lesion_images import write_jpeg, write_label_map, write_mask, write_probability
from tinylesions.transforms.lesion_table import lesion_components, photo_summary, write_table
from tinylesions.transforms.names import checked_lesions, output_name
from tinylesions.transforms.overlay import draw_overlay
from tinylesions.transforms.predicted_lesions import (
    label_map_of_sigmoid,
    label_map_of_softmax,
    masks_of_label_map,
    masks_of_sigmoid,
)

__all__ = ["SaveLesionsd"]


class _Predicted(NamedTuple):
    """The K lesions looked for: their names, probabilities and masks (K, H, W), label map (H, W) if there is one."""

    lesions: tuple[str, ...]
    probabilities: np.ndarray
    masks: np.ndarray
    label_map: np.ndarray | None


class SaveLesionsd(MapTransform):
    """Write the folder ``<output_dir>/<id>`` of one photo.

    ========================  =========================================================================
    ``<lesion>.png``          probability of each lesion looked for, 16 bits: ``round(65535 * p)``
    ``label_map.png``         one class a pixel, 8-bit palette; ``black_background`` outside of the retina
    ``<lesion>_mask.png``     with ``exclusive=False`` instead of the label map: 255 where the lesion is, else 0
    ``overlay.jpg``           :func:`~tinylesions.transforms.overlay.draw_overlay`
    ``lesions.csv``           :func:`~tinylesions.transforms.lesion_table.lesion_components` after a column ``photo``
    ``summary.json``          file, size, counts and areas; ``seconds``, ``windows``, facts where the data has them,
                              ``thresholds`` where there are some
    ``grade_evidence.jpg``    :func:`~tinylesions.transforms.grade_evidence.draw_grade_evidence`, where the data has it
    ========================  =========================================================================

    The folder is complete from the moment it has its name; an older one is replaced.

    Args:
        keys: key of the probabilities, (6, H, W) or, with `classes` or `lesions`, (K, H, W) float, at the size of the
            photo's file, on any device.
        output_dir: folder of the photos' folders.
        id_key: key of the photo's name, which names its folder.
        photo_key: key of the path of the photo's file; the overlay is drawn into its original pixels.
        field_of_view_key: key of the (1, H, W) mask of the field of view, above 0 inside. None where the whole frame
            is imaged, as in OCTA.
        allow_missing_keys: do not raise where the prediction is missing.
        lesions: None where the probabilities are a softmax over :data:`~tinylesions.datasets.lesions.CLASSES`: the
            label map has the most probable one. Else the names of the K lesions that the network looks for, each with
            a sigmoid of its own: the label map has the most probable lesion where one reaches 0.5, and nothing that
            is written speaks of other lesions. Lesions of other names than ``LESIONS`` are for ``exclusive=False``.
        classes: of the softmax, ``CLASSES`` or ``CLASSES[:5]``: a network without ``black_background``, which the
            label map still has outside of the retina.
        exclusive: False where `lesions` may overlap, as those of OCTA images do: a pixel is of every lesion that
            reaches 0.5 there, and each gets a mask.
        thresholds: probability of each of `lesions`, above 0 and below 1, that is reached where it is found, instead of
            0.5; see :func:`~tinylesions.transforms.predicted_lesions.label_map_of_sigmoid` for the label map.
        facts_key: key of what else is known of the photo, a mapping of plain values, e.g. of
            :class:`~tinylesions.transforms.grade_photo.GradePhotod`; added to ``summary.json``. May be absent.
        evidence_key: key of the evidence for the photo's grade, (1, H, W) float, 0 to 1, at the size of the photo's
            file; drawn with the grade, which the facts have to hold. May be absent.

    Raises:
        InputError: the id cannot name a folder, the photo cannot be read, or the folder cannot be written.
        ValueError: the prediction has another number of channels, or another size than the photo, `lesions` names an
            unknown lesion, or with ``exclusive=True`` one that no label map has, or none with ``exclusive=False``, or
            `classes` are others, or `thresholds` are not one for each of `lesions`, above 0 and below 1.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        id_key: str = "id",
        photo_key: str = "photo",
        field_of_view_key: str | None = "field_of_view",
        allow_missing_keys: bool = False,
        lesions: Sequence[str] | None = None,
        classes: Sequence[str] = CLASSES,
        facts_key: str = "facts",
        evidence_key: str = "pred_grade_evidence",
        exclusive: bool = True,
        thresholds: Mapping[str, float] | None = None,
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
        if self.lesions is None and not exclusive:
            raise ValueError("the classes of a softmax exclude each other: name the lesions with exclusive=False")
        if exclusive and not set(self.lesions or ()) <= set(CLASSES):
            raise ValueError(f"a label map has no {', '.join(self.lesions or ())}: save them with exclusive=False")
        self.exclusive = exclusive
        self.thresholds = None if thresholds is None else _checked_thresholds(thresholds, self.lesions or ())
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
            field_of_view = self._field_of_view(items, photo.shape[:2])
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
            if self.thresholds is not None:
                facts["thresholds"] = self.thresholds
            evidence = None
            if self.evidence_key in items:
                map_ = convert_to_tensor(items[self.evidence_key], track_meta=False)
                evidence = draw_grade_evidence(photo, convert_to_numpy(map_.float())[0], facts)
            predicted = self._predicted(probabilities, field_of_view)
            with atomic_folder(self.output_dir / name) as folder:
                _write_folder(folder, facts, photo, predicted, field_of_view)
                if evidence is not None:
                    write_jpeg(evidence, folder / "grade_evidence.jpg")
            items["output"] = str(self.output_dir / name)
        return items

    def _field_of_view(self, items: Mapping[Hashable, Any], size: tuple[int, ...]) -> np.ndarray:
        if self.field_of_view_key is None:
            return np.ones(size, dtype=bool)
        return convert_to_numpy(items[self.field_of_view_key])[0] > 0

    def _predicted(self, probabilities: torch.Tensor, field_of_view: np.ndarray) -> _Predicted:
        lesions = self.lesions or LESIONS
        thresholds = None if self.thresholds is None else list(self.thresholds.values())
        if not self.exclusive:
            masks = convert_to_numpy(masks_of_sigmoid(probabilities, thresholds)) & field_of_view
            return _Predicted(lesions, convert_to_numpy(probabilities.float()), masks, None)
        label_map_, channels = (
            label_map_of_sigmoid(probabilities, self.lesions, thresholds)
            if self.lesions
            else label_map_of_softmax(probabilities, self.classes)
        )
        label_map = convert_to_numpy(label_map_)
        label_map[~field_of_view] = CLASSES.index("black_background")
        masks = masks_of_label_map(label_map, lesions)
        return _Predicted(lesions, convert_to_numpy(channels.float()), masks, label_map)


def _checked_thresholds(thresholds: Mapping[str, float], lesions: Sequence[str]) -> dict[str, float]:
    """The thresholds in the order of the lesions, whatever their own, in plain numbers."""
    if set(thresholds) != set(lesions) or not all(0 < threshold < 1 for threshold in thresholds.values()):
        raise ValueError(
            f"thresholds are one for each of the lesions {list(lesions)}, above 0 and below 1, got {dict(thresholds)}"
        )
    return {lesion: float(thresholds[lesion]) for lesion in lesions}


def _write_folder(
    folder: Path, facts: dict[str, Any], photo: np.ndarray, predicted: _Predicted, field_of_view: np.ndarray
) -> None:
    lesions, probabilities, masks, label_map = predicted
    for lesion, probability in zip(lesions, probabilities, strict=True):
        write_probability(probability, folder / f"{lesion}.png")
    if label_map is None:
        for lesion, mask in zip(lesions, masks, strict=True):
            write_mask(mask, folder / f"{lesion}_mask.png")
    else:
        write_label_map(label_map, folder / "label_map.png")
    table = lesion_components(masks, probabilities, lesions)
    summary = photo_summary(table, int(field_of_view.sum()), lesions)
    counts = {lesion: summary[f"{lesion}_count"] for lesion in lesions}
    overlay = draw_overlay(photo, masks, field_of_view, counts, exclusive=label_map is not None)
    write_jpeg(overlay, folder / "overlay.jpg")
    table.insert(0, "photo", facts["photo"])
    write_table(table, folder / "lesions.csv")
    text = json.dumps(facts | summary, indent=2, ensure_ascii=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
