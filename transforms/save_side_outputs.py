"""Draws what each scale of a network sees, lesion by lesion: the panels of Red-Seg's figure 7."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy, convert_to_tensor
from PIL import Image, ImageDraw, ImageFont

from tinylesions.datasets.photos import read_photo
from tinylesions.transforms.atomic import atomic_path
from tinylesions.transforms.names import checked_lesions, output_name

__all__ = ["SaveSideOutputsd"]

_TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)
_CAPTION = "probability, square-root grey scale"
_DARK, _WHITE, _BLANK = (16, 16, 16), (255, 255, 255), (48, 48, 64)
_TEXT = 1 / 30  # height of a title as a share of a panel's width
_SMALLEST_TEXT = 8  # pixels
_GAP = 4  # pixels between panels


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
            photo = _reduced_photo(items[self.photo_key])
            truth = _numpy(items[self.label_key]) if self.label_key in items else None
            self._check(probabilities, photo, truth)
            picture = _draw(self._rows(probabilities, photo, truth))
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


def _reduced_photo(image: MetaTensor) -> np.ndarray:
    """(H, W, 3) uint8: the file of a preprocessed photo at its size, in its own colours."""
    height, width = image.shape[1:]
    photo = Image.fromarray(read_photo(image.meta["filename_or_obj"]))
    return np.asarray(photo.resize((width, height), Image.Resampling.BOX))


def _numpy(image: Any) -> np.ndarray:
    return np.asarray(convert_to_numpy(convert_to_tensor(image, track_meta=False).float()))


def _draw(rows: Sequence[Sequence[tuple[str, np.ndarray | None]]]) -> Image.Image:
    height, width = next(panel for _, panel in rows[0] if panel is not None).shape[:2]
    size = _text_size([_CAPTION, *(title for row in rows for title, _ in row)], width)
    font, strip = ImageFont.load_default(size), round(1.6 * size)
    across, down = width + _GAP, strip + height + _GAP
    right = len(rows[0]) * across - _GAP
    picture = Image.new("RGB", (right, len(rows) * down + 3 * strip), _DARK)
    draw = ImageDraw.Draw(picture)
    for row, panels in enumerate(rows):
        for column, (title, panel) in enumerate(panels):
            left, top = column * across, row * down
            draw.text((left + width / 2, top + strip / 2), title, fill=_WHITE, font=font, anchor="mm")
            box = (left, top + strip, left + width, top + strip + height)
            if panel is None:
                picture.paste(_BLANK, box)
            else:
                picture.paste(Image.fromarray(panel).convert("RGB"), box)
    _draw_scale(picture, font, (right - width, len(rows) * down, right), strip)
    return picture


def _text_size(texts: Sequence[str], width: int) -> int:
    """Height in pixels at which every text is no wider than a panel, unless the panels are tiny."""
    size = max(_SMALLEST_TEXT, round(width * _TEXT))
    longest = max(ImageFont.load_default(size).getlength(text) for text in texts)
    return max(_SMALLEST_TEXT, int(size * min(1, width / longest)))


def _draw_scale(
    picture: Image.Image, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, place: tuple[int, int, int], strip: int
) -> None:
    """Draw the caption, a bar from black to white and its probabilities, below the last panel."""
    left, top, right = place
    bar = np.tile(np.linspace(0, 255, right - left).astype(np.uint8), (strip // 2, 1))
    picture.paste(Image.fromarray(bar).convert("RGB"), (left, top + strip))
    draw = ImageDraw.Draw(picture)
    draw.text((right, top + strip / 2), _CAPTION, fill=_WHITE, font=font, anchor="rm")
    free = left
    for probability in _TICKS:
        text = f"{probability:g}"
        length = font.getlength(text)
        # a number stands centred below its grey level, the first and the last inside the bar
        start = min(max(left + (right - left) * probability**0.5 - length / 2, left), right - length)
        if start >= free:
            draw.text((start, top + 2 * strip), text, fill=_WHITE, font=font, anchor="lm")
            free = start + 1.3 * length
